"""Asking AWS STS, and reading its answer to GetCallerIdentity in JSON or XML."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from xml.etree import ElementTree

MAX_ANSWER = 65536
_TIMEOUT = 5.0
_LONGEST = 2048

Opener: TypeAlias = Callable[[str, Mapping[str, str]], tuple[int, bytes]]
"""GETs a URL with headers: the status and the first MAX_ANSWER + 1 bytes of the answer's body.

It follows no redirect, and raises OSError where it gets no answer.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer's texts; "" where one is not there. With a code it is an error."""

    account: str = ""
    arn: str = ""
    user_id: str = ""
    code: str = ""
    message: str = ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """None makes of a redirect the error that it is here."""


def fetch(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """The Opener for real use: certificates are checked, proxies of the environment are used."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310  # the caller's check
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT) as answer:
            return answer.status, answer.read(MAX_ANSWER + 1)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(MAX_ANSWER + 1)
    except http.client.HTTPException as error:
        raise OSError(f"its answer is no HTTP: {error}") from error


def read_answer(body: bytes) -> Answer:
    """What is in the body: nothing, where it cannot be read."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return Answer()
    find = _in_xml(text) if text.lstrip().startswith("<") else _in_json(text)
    result = "GetCallerIdentityResponse", "GetCallerIdentityResult"
    return Answer(
        find(*result, "Account"),
        find(*result, "Arn"),
        find(*result, "UserId"),
        find("ErrorResponse", "Error", "Code") or find("Error", "Code"),
        find("ErrorResponse", "Error", "Message") or find("Error", "Message"),
    )


def _in_json(text: str) -> Callable[..., str]:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        document = None

    def find(*path: str) -> str:
        node = document
        for name in path:
            node = node.get(name) if isinstance(node, dict) else None
        return _bounded(node) if isinstance(node, str) else ""

    return find


def _in_xml(text: str) -> Callable[..., str]:
    # Without a document type there are no entities that could grow or lead elsewhere.
    root = None if "<!" in text else _tree(text)

    def find(root_name: str, *path: str) -> str:
        if root is None or root.tag.rpartition("}")[2] != root_name:
            return ""
        return _bounded(root.findtext("/".join(f"{{*}}{name}" for name in path)) or "")

    return find


def _tree(text: str) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(text)  # noqa: S314  # a document type was refused before
    except (ElementTree.ParseError, ValueError):
        return None


def _bounded(text: str) -> str:
    """Outside text that errors and records may take: in one printable line."""
    line = " ".join(text.split())[:_LONGEST]
    return line if line.isprintable() else ""
