"""`current.json`: where the pool of this user is, and the credentials for it."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

_NAME = "current.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """How a pool is reached.

    Attributes:
        endpoint: `https://HOST:PORT`.
        server_name: the TLS server name of its API.
        ca: PEM file of its certificate authority.
        access_key_id, secret_access_key: credentials, the account's own for its owner.
        session_token: comes with those that are valid for a time; "" for others.
    """

    endpoint: str
    server_name: str
    ca: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)

    def save(self, home: Path) -> None:
        """Make it the pool of this user."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = home / _NAME
        temporary = path.with_name(f"{_NAME}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self), file, indent=1)
        temporary.replace(path)

    @classmethod
    def load(cls, home: Path) -> Pointer | None:
        """The pool of this user; None where there is none, or the file is not one of ours.

        Raises:
            OSError: the file may not be read.
        """
        try:
            fields = json.loads((home / _NAME).read_text(encoding="utf-8"))
            known = {each.name: str(fields[each.name]) for each in dataclasses.fields(cls)[:-1]}
            return cls(**known, session_token=str(fields.get("session_token", "")))
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None

    def remove(self, home: Path) -> None:
        """Take it away, unless another pool has taken its place."""
        if Pointer.load(home) == self:
            (home / _NAME).unlink(missing_ok=True)
