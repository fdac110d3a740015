"""What a provider of instances does, and the values that cross to the control plane."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from elastic_inference.errors import InvalidRequestError

MAX_USER_DATA = 16 * 1024
# One variable of an environment, which is how a request reaches its process, has 128 KiB.
_MAX_REQUEST = 96 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Place:
    """What an instance has on its machine, kept by the control plane over its restarts.

    Attributes:
        uid: its own user; None: that of the pool.
        network: the name of its network namespace; None: the machine's network.
        port: of its metadata service on loopback; None: it is inside the namespace.
        secret: what the metadata service's path and tokens come from.
    """

    uid: int | None
    network: str | None
    port: int | None
    secret: str = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Place:
        """The place that `to_dict` described."""
        return cls(
            uid=None if document.get("uid") is None else int(document["uid"]),
            network=document.get("network"),
            port=None if document.get("port") is None else int(document["port"]),
            secret=str(document["secret"]),
        )


@dataclass(frozen=True, slots=True)
class Terminal:
    """The caller's terminal: its size, and its kind for TERM."""

    rows: int = 24
    columns: int = 80
    term: str = "xterm"


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command to run in an instance.

    Attributes:
        terminal: it gets a terminal of this size; None: pipes.
        environment: variables beside the instance's own, or in their place.
        directory: where it runs; None: the instance's home.
    """

    command: tuple[str, ...]
    terminal: Terminal | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ExecRequest:
        """The request in a document `{command, tty?, environment?, directory?}`.

        Raises:
            InvalidRequestError: it is none; the message names the field.
        """
        command = document.get("command")
        if not (_texts(command) and command and command[0]):
            raise InvalidRequestError(
                "command must be a list of texts, the first one the program.",
                next_step='Give it as ["sh", "-c", "…"].',
            )
        environment = document.get("environment") or {}
        if not (
            isinstance(environment, dict)
            and all(isinstance(name, str) and _NAME.fullmatch(name) for name in environment)
            and _texts(list(environment.values()))
        ):
            raise InvalidRequestError("environment must be texts by names of variables.")
        directory = document.get("directory")
        if directory is not None and not (_texts([directory]) and directory):
            raise InvalidRequestError("directory must be a path.")
        if len(json.dumps([command, environment, directory]).encode()) > _MAX_REQUEST:
            raise InvalidRequestError(
                f"The command and its environment are larger than {_MAX_REQUEST} bytes.",
                next_step="Send what is large through the command's standard input.",
            )
        return cls(tuple(command), _terminal(document.get("tty")), environment, directory)


class Compute(Protocol):
    """A provider of instances: places to run commands."""

    @property
    def isolated(self) -> bool:
        """Whether commands of an instance have no rights of the pool's, so that they may come
        through the API.
        """

    @property
    def why_not(self) -> str:
        """Why they have, "" where they have not."""

    def open(self, instance_id: str, place: Mapping[str, Any] | None = None) -> Place:
        """Make the instance's place, or open that of before with all that runs in it."""

    def environment(self, instance_id: str) -> dict[str, str]:
        """The variables that the instance's commands get."""

    def first_boot(self, instance_id: str, user_data: str) -> None:
        """Run user data in the background, unless it ran already. See `check_user_data`."""

    def check(self, instance_id: str) -> None:
        """Raise what `execute` would raise before the command runs."""

    def execute(
        self,
        instance_id: str,
        request: ExecRequest,
        connection: socket.socket,
        early: bytes = b"",
    ) -> None:
        """Run a command over `connection` until it, or the connection, has ended.

        Args:
            early: what was received of the frames already.

        Raises:
            AccessDeniedError: this pool runs no commands for others.
            NotFoundError: the instance is not open.
        """

    def processes(self, instance_id: str) -> int:
        """How many processes the instance has."""

    def stop(self, instance_id: str) -> None:
        """End all that runs; files stay."""

    def close_instance(self, instance_id: str) -> None:
        """Stop it and remove all that it had."""

    def sweep(self, known: set[str]) -> None:
        """Remove what instances that nobody knows any more have left."""

    def close(self) -> None:
        """Let go: what runs goes on, and may be opened again."""


def check_user_data(text: str) -> None:
    """Refuse user data that cannot be run.

    Raises:
        InvalidRequestError: it is too large, or no script.
    """
    size = len(text.encode("utf-8", "surrogateescape"))
    if size > MAX_USER_DATA:
        raise InvalidRequestError(
            f"User data has {size} bytes, of which {MAX_USER_DATA} are allowed.",
            next_step="Let a short script fetch what is larger.",
        )
    first = text.lstrip().split("\n", 1)[0].strip()
    if first.startswith(("#cloud-config", "#cloud-boothook", "#include", "Content-Type:")):
        raise InvalidRequestError(
            f"User data of kind {first[:40]!r} is not supported: there is no cloud-init here.",
            next_step="Give a shell script, or one that begins with #!.",
        )
    if "\0" in text:
        raise InvalidRequestError("User data must be a script, not binary data.")


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(each, str) and "\0" not in each for each in value
    )


def _terminal(document: Any) -> Terminal | None:
    if document is None:
        return None
    if isinstance(document, dict):
        rows, columns = document.get("rows", 24), document.get("columns", 80)
        term = document.get("term") or "xterm"
        sizes = all(isinstance(each, int) and 0 <= each <= 65535 for each in (rows, columns))
        if sizes and isinstance(term, str) and _TERM.fullmatch(term):
            return Terminal(rows, columns, term)
    raise InvalidRequestError(
        "tty must be the terminal's rows and columns (0 to 65535) and its kind (term)."
    )
