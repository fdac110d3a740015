"""What the control plane must not forget: SQLite, one transaction for each change."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError, ConflictError, UnavailableError

_VERSION = 2
_SCHEMA = """
CREATE TABLE instances (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
    client_token TEXT, accelerator_types TEXT NOT NULL, lease_seconds REAL,
    created_at REAL NOT NULL, ended_at REAL, UNIQUE (account, client_token)
);
CREATE TABLE accelerators (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, account TEXT NOT NULL,
    instance_id TEXT NOT NULL REFERENCES instances (id), association_id TEXT NOT NULL UNIQUE,
    token_key BLOB NOT NULL, placement TEXT NOT NULL, created_at REAL NOT NULL,
    own_port INTEGER
);
CREATE INDEX accelerators_by_instance ON accelerators (instance_id);
CREATE TABLE access_keys (
    id TEXT PRIMARY KEY, secret TEXT NOT NULL, account TEXT NOT NULL,
    instance_id TEXT REFERENCES instances (id)
);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# What makes a store of each earlier version one of the next.
_MIGRATIONS = {1: "ALTER TABLE accelerators ADD COLUMN own_port INTEGER;"}
RUNNING = "running"
PENDING = "pending"
SHUTTING_DOWN = "shutting-down"
TERMINATED = "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Whatever owns accelerators. Times are Unix seconds.

    Attributes:
        lease_seconds: it is terminated after so long a silence; None: never.
        client_token: the caller's own name of the request that made it.
    """

    id: str
    account: str
    name: str
    state: str
    client_token: str | None
    accelerator_types: tuple[str, ...]
    lease_seconds: float | None
    created_at: float
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An accelerator and its association with an instance.

    Attributes:
        own_port: the port of its own address; None while it has none.
    """

    id: str
    type: str
    account: str
    instance_id: str
    association_id: str
    token_key: bytes = field(repr=False)
    placement: Mapping[str, Any]
    created_at: float
    own_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """Credentials: an instance's own, or where it has none, the account's."""

    id: str
    secret: str = field(repr=False)
    account: str
    instance_id: str | None


class Store:
    """The state directory's database. Every method may be called from any thread.

    Each raises UnavailableError where the disk is full or fails; then nothing has changed.
    """

    def __init__(self, directory: Path) -> None:
        """Open the store in `directory`, made if there is none.

        Raises:
            ConflictError: another control plane uses the directory.
            ConfigurationError: it is of a newer version, or not a store.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = _exclusive(directory)
        self._lock = threading.RLock()
        path = directory / "pool.sqlite"
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            os.close(self._lock_file)
            raise _cannot_open(path, error) from error
        try:
            self._database.row_factory = sqlite3.Row
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise _cannot_open(path, error) from error
        except ConfigurationError:
            self.close()
            raise

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA foreign_keys = ON")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise ConfigurationError(
                "The pool's state was written by a newer version of Elastic Inference.",
                next_step="Use that version, or another --state DIR.",
            )
        if version < _VERSION:
            steps = [_MIGRATIONS[each] for each in range(version, _VERSION)] if version else []
            change = " ".join(steps) or _SCHEMA
            self._database.executescript(
                f"BEGIN; {change} PRAGMA user_version = {_VERSION}; COMMIT;"
            )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it is kept or nothing."""
        with self._lock, _clear_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                # SQLite has taken it back itself where the disk failed.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._lock:
            self._database.close()
            os.close(self._lock_file)

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, _clear_errors():
            return self._database.execute(query, values).fetchall()

    def add_instance(self, instance: Instance) -> None:
        self._rows(
            "INSERT INTO instances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            instance.id, instance.account, instance.name, instance.state, instance.client_token,
            json.dumps(instance.accelerator_types), instance.lease_seconds, instance.created_at,
            instance.ended_at,
        )  # fmt: skip

    def set_instance_state(
        self, instance_id: str, state: str, ended_at: float | None = None
    ) -> None:
        self._rows(
            "UPDATE instances SET state = ?, ended_at = ? WHERE id = ?",
            state, ended_at, instance_id,
        )  # fmt: skip

    def forget_instances(self, ended_before: float) -> None:
        """Drop what ended before a Unix time."""
        self._rows("DELETE FROM instances WHERE ended_at < ?", ended_before)

    def instances(self) -> list[Instance]:
        """All of them, the oldest first."""
        return [_instance(row) for row in self._rows("SELECT * FROM instances ORDER BY rowid")]

    def instance(self, instance_id: str) -> Instance | None:
        rows = self._rows("SELECT * FROM instances WHERE id = ?", instance_id)
        return _instance(rows[0]) if rows else None

    def instance_by_token(self, account: str, client_token: str) -> Instance | None:
        rows = self._rows(
            "SELECT * FROM instances WHERE account = ? AND client_token = ?",
            account, client_token,
        )  # fmt: skip
        return _instance(rows[0]) if rows else None

    def add_accelerator(self, accelerator: Accelerator) -> None:
        self._rows(
            "INSERT INTO accelerators VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            accelerator.id, accelerator.type, accelerator.account, accelerator.instance_id,
            accelerator.association_id, accelerator.token_key,
            json.dumps(dict(accelerator.placement)), accelerator.created_at, accelerator.own_port,
        )  # fmt: skip

    def accelerators(self, instance_id: str | None = None) -> list[Accelerator]:
        """All of them, or an instance's, the oldest first."""
        if instance_id is None:
            rows = self._rows("SELECT * FROM accelerators ORDER BY rowid")
        else:
            rows = self._rows(
                "SELECT * FROM accelerators WHERE instance_id = ? ORDER BY rowid", instance_id
            )
        return [_accelerator(row) for row in rows]

    def accelerator(self, accelerator_id: str) -> Accelerator | None:
        rows = self._rows("SELECT * FROM accelerators WHERE id = ?", accelerator_id)
        return _accelerator(rows[0]) if rows else None

    def set_own_port(self, accelerator_id: str, port: int | None) -> None:
        """Keep the port of an accelerator's own address."""
        self._rows("UPDATE accelerators SET own_port = ? WHERE id = ?", port, accelerator_id)

    def remove_of_instance(self, instance_id: str) -> None:
        """Forget an instance's accelerators and credentials."""
        self._rows("DELETE FROM accelerators WHERE instance_id = ?", instance_id)
        self._rows("DELETE FROM access_keys WHERE instance_id = ?", instance_id)

    def add_access_key(self, key: AccessKey) -> None:
        self._rows(
            "INSERT INTO access_keys VALUES (?, ?, ?, ?)",
            key.id, key.secret, key.account, key.instance_id,
        )  # fmt: skip

    def access_key(self, key_id: str) -> AccessKey | None:
        rows = self._rows("SELECT * FROM access_keys WHERE id = ?", key_id)
        return AccessKey(**rows[0]) if rows else None

    def access_key_of(self, instance_id: str | None) -> AccessKey | None:
        """The key of an instance, or the account's own."""
        rows = self._rows("SELECT * FROM access_keys WHERE instance_id IS ?", instance_id)
        return AccessKey(**rows[0]) if rows else None

    def setting(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM settings WHERE name = ?", name)
        return str(rows[0]["value"]) if rows else None

    def set_setting(self, name: str, value: str) -> None:
        self._rows("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UnavailableError(
            f"The control plane cannot use its state: {error}.",
            next_step="See to the disk where it lies (ei up says where), then repeat.",
        ) from error


def _cannot_open(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot open the pool's state {path}: {error}.",
        next_step="Name another directory with --state DIR.",
    )


def _instance(row: sqlite3.Row) -> Instance:
    fields = dict(row)
    fields["accelerator_types"] = tuple(json.loads(fields["accelerator_types"]))
    return Instance(**fields)


def _accelerator(row: sqlite3.Row) -> Accelerator:
    fields = dict(row)
    fields["placement"] = json.loads(fields["placement"])
    return Accelerator(**fields)


def _exclusive(directory: Path) -> int:
    """A lock on the directory that ends with this process."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConflictError(
            f"Another control plane uses {directory} (process {holder or 'unknown'}).",
            next_step="Stop it first, or name another directory with --state DIR.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
