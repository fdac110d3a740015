"""Another API that a pool serves on its one port, beside its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came.

    Attributes:
        target: path and query as they stood in the request line.
        headers: every header field, repeated ones too.
        body: None where it was larger than `Front.max_body`; it was not kept then.
        own, peer: the connection's two socket addresses.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes | None = field(repr=False)
    own: tuple[Any, ...]
    peer: tuple[Any, ...]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str:
        """The first header field of that name; "" where there is none."""
        wanted = name.lower()
        return next((value for each, value in self.headers if each.lower() == wanted), "")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What is answered; its length is added."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class Front(Protocol):
    """What answers requests that are not of the control API.

    Attributes:
        max_body: the largest body that it takes, in bytes.
    """

    max_body: int

    def takes(self, method: str, target: str, headers: Sequence[tuple[str, str]]) -> bool:
        """Whether a request is for it, by its head."""

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request; it raises nothing."""

    def start(self) -> None:
        """Begin what goes on without requests; the control plane is open."""

    def close(self) -> None:
        """End that."""
