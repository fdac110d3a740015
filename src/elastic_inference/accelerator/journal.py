"""What an accelerator must still know after it was killed: its models and their leases."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from elastic_inference.accelerator.engines.base import LoadOptions

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (
    handle TEXT PRIMARY KEY, files TEXT NOT NULL, main TEXT NOT NULL, options TEXT NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS leases (
    handle TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (handle, owner)
) STRICT;
CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, handle TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class JournalModel:
    """A model that was loaded, or was being loaded.

    Attributes:
        attempts: loads that began and did not end, with the preparing that follows some of
            them; above 0 only if the process died in them.
    """

    handle: str
    files: Mapping[str, str]
    main: str
    options: LoadOptions
    attempts: int


class Journal:
    """A SQLite file. What cannot be written is logged: serving goes on without it."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError:
            log.warning("The journal %s is not readable: beginning a new one", path)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            self._database = _open(path)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def models(self) -> list[JournalModel]:
        """In the order in which they were loaded; rows that do not parse are left out."""
        found = []
        with self._lock:
            rows = self._database.execute(
                "SELECT handle, files, main, options, attempts FROM models ORDER BY rowid"
            ).fetchall()
        for handle, files, main, options, attempts in rows:
            try:
                parsed = LoadOptions(**json.loads(options))
                found.append(JournalModel(handle, dict(json.loads(files)), main, parsed, attempts))
            except (ValueError, TypeError):
                log.warning("The journal's entry of model %s is not readable", handle)
        return found

    def leases(self) -> list[tuple[str, str]]:
        """Handle and owner of each lease."""
        with self._lock:
            return self._database.execute("SELECT handle, owner FROM leases").fetchall()

    def names(self) -> list[tuple[str, str]]:
        """Each name of the model repository and the handle that it stands for."""
        with self._lock:
            return self._database.execute("SELECT name, handle FROM names").fetchall()

    def begin(self, model: JournalModel) -> None:
        """A load begins."""
        with self._writing() as database:
            database.execute(
                "INSERT INTO models VALUES (?, ?, ?, ?, 1) "
                "ON CONFLICT (handle) DO UPDATE SET attempts = attempts + 1",
                (
                    model.handle,
                    json.dumps(dict(model.files)),
                    model.main,
                    json.dumps(asdict(model.options)),
                ),
            )

    def loaded(self, handle: str) -> None:
        """The load that `begin` announced is done."""
        with self._writing() as database:
            database.execute("UPDATE models SET attempts = 0 WHERE handle = ?", (handle,))

    def remove(self, handle: str) -> None:
        """The model is no longer loaded."""
        with self._writing() as database:
            for table in ("models", "leases", "names"):
                database.execute(f"DELETE FROM {table} WHERE handle = ?", (handle,))  # noqa: S608

    def add_lease(self, handle: str, owner: str) -> None:
        with self._writing() as database:
            database.execute("INSERT OR IGNORE INTO leases VALUES (?, ?)", (handle, owner))

    def end_lease(self, handle: str, owner: str) -> None:
        with self._writing() as database:
            database.execute("DELETE FROM leases WHERE handle = ? AND owner = ?", (handle, owner))

    def set_name(self, name: str, handle: str) -> None:
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (name, handle))

    def end_name(self, name: str) -> None:
        with self._writing() as database:
            database.execute("DELETE FROM names WHERE name = ?", (name,))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._database:
                yield self._database
        except sqlite3.Error as error:
            log.warning("The journal cannot be written: %s", error)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        # A journal of the last moments before a power cut is not needed: the process is.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database
