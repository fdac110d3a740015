"""Reads what an accelerator said on a connection, and believes none of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from elastic_inference.protocol.http import STATUS_BY_KIND

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_GOOD = {200, 201}
# The accelerator's own word for a defect; an engine that refuses says so otherwise.
_DEFECT = "Internal error"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        headers: names in lower case.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def tensors(self) -> bytes:
        """The bytes behind the JSON."""
        return self.body[int(self.headers.get("inference-header-content-length", len(self.body))) :]


def read_answers(raw: bytes) -> list[Answer]:
    """The answers that `raw` consists of; raises AssertionError if it is anything else."""
    answers = []
    at = 0
    while at < len(raw):
        if raw.startswith(_CONTINUE, at):
            at += len(_CONTINUE)
            continue
        end = raw.index(b"\r\n\r\n", at)
        first, *lines = raw[at:end].decode("ascii").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon, line
            assert name.lower() not in headers, line
            headers[name.lower()] = value
        body, at = _body(raw, end + 4, headers)
        answer = Answer(int(status), headers, body)
        _check(answer)
        answers.append(answer)
        assert headers.get("connection") != "close" or at == len(raw), "more after the last"
    return answers


def _body(raw: bytes, at: int, headers: dict[str, str]) -> tuple[bytes, int]:
    if headers.get("transfer-encoding") != "chunked":
        end = at + int(headers["content-length"])
        assert end <= len(raw), "an answer is cut off"
        return raw[at:end], end
    assert "content-length" not in headers
    body = b""
    while True:
        line = raw.index(b"\r\n", at)
        size = int(raw[at:line], 16)
        at = line + 2 + size
        assert raw[at : at + 2] == b"\r\n", "a chunk is cut off"
        body += raw[line + 2 : at]
        at += 2
        if size == 0:
            return body, at


def _check(answer: Answer) -> None:
    if answer.status in _GOOD:
        return
    if not answer.body or answer.headers["content-type"] != "application/json":
        return
    document = json.loads(answer.body)
    if "error" not in document:
        # What is not ready says so by its status.
        assert document.get("ready") is False, document
        return
    assert STATUS_BY_KIND[document["kind"]] == answer.status, document
    assert document["accelerator_id"].startswith("eia-"), document
    assert not document["error"].startswith(_DEFECT), document
