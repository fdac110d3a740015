"""What the supervisor asks an accelerator, and what it makes of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.json_object import parse_object

REQUEST = (
    b"GET /v2/elastic-inference/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)
MAX_ANSWER = 8192
_ALIVE = b"HTTP/1.1 "
_OK = "ok"
_MAX_TEXT = 300
_MOST_MEMORY = 1 << 60


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found.

    Attributes:
        alive: it answers.
        trouble: why it does not infer, or "".
        lost: it will not infer again, whatever time it is given.
        memory_used: bytes; None: it does not say.
    """

    alive: bool
    trouble: str = ""
    lost: bool = False
    memory_used: int | None = None


def read(answer: bytes) -> Finding:
    """What the whole answer to `REQUEST` says; b"" where there is none.

    Any answer shows life, that there are too many connections too.
    """
    if not answer.startswith(_ALIVE):
        return Finding(alive=False)
    try:
        report = parse_object(answer.partition(b"\r\n\r\n")[2])
    except InvalidRequestError:
        return Finding(alive=True)
    device, inference = report.get("device", _OK), report.get("inference", _OK)
    trouble, lost = "", device != _OK
    if lost:
        trouble = f"its device failed: {_plain(device)}"
    elif inference != _OK:
        why = _plain(report.get("error", "it does not say why"))
        trouble = f"its inference check failed: {why}"
    return Finding(True, trouble, lost, _bytes(report.get("memoryUsed")))


def _bytes(said: Any) -> int | None:
    return said if type(said) is int and 0 <= said < _MOST_MEMORY else None


def _plain(text: Any) -> str:
    """One line of bounded length, whatever an accelerator says."""
    line = "".join(each if each.isprintable() else " " for each in str(text)[:_MAX_TEXT])
    return " ".join(line.split()).rstrip(".") or "it does not say why"
