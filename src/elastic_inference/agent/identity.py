"""`host.json`: which instance of which pool this host is, and the key by which it says so."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from elastic_inference.control.pointer import Pointer

_NAME = "host.json"
_DIRECTORY = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a host keeps for as long as it is registered.

    Attributes:
        endpoint: `https://HOST:PORT` of the pool.
        server_name: the TLS server name by which the pool is known there.
        ca: PEM file of its certificate authority.
        instance_id: `i-…`.
        access_key_id, secret_access_key: the host's own.
        metadata_secret: what path and tokens of its metadata service come from.
        metadata_url: where that answered last; "": it never did.
    """

    endpoint: str
    server_name: str
    ca: str
    instance_id: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    metadata_secret: str = field(repr=False)
    metadata_url: str = field(default="", repr=False)

    @property
    def pointer(self) -> Pointer:
        """How the host itself speaks to the pool."""
        return Pointer(
            endpoint=self.endpoint,
            server_name=self.server_name,
            ca=self.ca,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
        )

    @property
    def metadata_port(self) -> int:
        """The port of loopback where its metadata service was; 0 where there was none."""
        return urlsplit(self.metadata_url).port or 0

    def save(self, home: Path) -> None:
        """Make it what this host is."""
        path = home / _NAME
        text = json.dumps(dataclasses.asdict(self), indent=1)
        write_private(path, text)

    @classmethod
    def load(cls, home: Path) -> Identity | None:
        """What this host is; None where it is not registered, or the file is not one of ours.

        Raises:
            OSError: the file may not be read.
        """
        try:
            fields = json.loads((home / _NAME).read_text(encoding="utf-8"))
            return cls(**{each.name: str(fields[each.name]) for each in dataclasses.fields(cls)})
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def remove(home: Path) -> None:
        """Be nothing any more."""
        (home / _NAME).unlink(missing_ok=True)


def directory(home: Path) -> Path:
    """Where the files of a host's agent lie, made if it is missing; private."""
    path = home / _DIRECTORY
    for each in (home, path):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that this user alone can read, whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
