"""The control plane's database: opened by one process, changed one transaction at a time."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql import Executable

from elastic_inference.control.directory_lock import exclusive
from elastic_inference.control.migrate import prepare
from elastic_inference.errors import ConfigurationError, ConflictError, UnavailableError

FILE = "pool.sqlite"
_LOCKED_FOR = 5.0  # seconds that another program may hold the file, or the server its lock
_PAUSE = 0.1
# Any number will do, as long as it is always the same.
_ADVISORY_LOCK = 0x0E1A5711


class Database:
    """Tables in a file of a directory, or on a server. Every method may be called from any thread.

    Each raises UnavailableError where the disk is full, fails, or the server is gone; then
    nothing has changed.
    """

    def __init__(self, directory: Path, url: str | None = None) -> None:
        """Open it, made if there is none.

        Args:
            directory: private to the pool; one process at a time may have it open.
            url: an SQLAlchemy URL of a PostgreSQL database; None: a file in `directory`.

        Raises:
            ConflictError: another control plane uses it.
            ConfigurationError: it is of a newer version, damaged, or cannot be reached.
        """
        self.path = None if url else directory / FILE
        self.name = str(self.path or _name_of(url or ""))
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            with self._opening():
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                undo.callback(os.close, exclusive(directory))
            self._writing, self._reading = self._engines(url)
            undo.callback(self._writing.dispose)
            undo.callback(self._reading.dispose)
            # Held by whoever changes something.
            self._lock = threading.RLock()
            self._local = threading.local()
            self._mode = ""
            self._closed = False
            with self._opening():
                self._own()
                prepare(self._writing, self.name)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Once or more. Whoever comes later changes nothing: another may have it open by then."""
        with self._lock:
            self._closed = True
            self._undo.close()

    def check_owned(self) -> None:
        """See to it that no other control plane uses it, after the server was away, say.

        Raises:
            ConflictError: another one does.
            UnavailableError: the server is away.
        """
        if self.path is None:
            # Where its connection was lost, it gets another one, and must get the lock with it.
            with self.transaction(durable=False):
                pass

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All of it is kept or nothing; one within another is part of it.

        Args:
            durable: it outlives a failure of the machine's power too, not only this process.
        """
        with self._lock:
            if getattr(self._local, "connection", None) is not None:
                yield
                return
            self._check_open()
            with _clear_errors(self.name), self._writing.connect() as connection:
                self._sync(connection, "FULL" if durable else "NORMAL")
                with connection.begin():
                    self._local.connection = connection
                    try:
                        yield
                    finally:
                        self._local.connection = None

    def _sync(self, connection: Connection, mode: str) -> None:
        if self.path is not None and mode != self._mode:
            # Not through the connection, which would begin a transaction.
            driver: Any = connection.connection.driver_connection
            driver.execute(f"PRAGMA synchronous = {mode}")
            self._mode = mode

    def change(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> int:
        """Run a statement that changes something; the number of rows that it changed."""
        with self.transaction(), _clear_errors(self.name):
            connection: Connection = self._local.connection
            return connection.execute(statement, values).rowcount

    def rows(
        self, query: Executable, values: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """What a query finds; within a transaction what that has changed too."""
        connection: Connection | None = getattr(self._local, "connection", None)
        self._check_open()
        with _clear_errors(self.name):
            if connection is not None:
                return connection.execute(query, values).fetchall()
            with self._reading.connect() as reading:
                return reading.execute(query, values).fetchall()

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("The control plane is being stopped.")

    def _engines(self, url: str | None) -> tuple[Engine, Engine]:
        if url is not None:
            # What a server without an encoding holds is text all the same.
            usual: dict[str, Any] = {
                "pool_pre_ping": True,
                "connect_args": {"client_encoding": "utf8"},
            }
            try:
                writing = create_engine(url, pool_size=1, max_overflow=0, **usual)
                reading = create_engine(url, pool_size=8, isolation_level="AUTOCOMMIT", **usual)
            except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
                raise _no_database(error) from error
            event.listen(writing, "connect", self._take_lock)
            return writing, reading
        path = str(self.path)
        options: dict[str, Any] = {
            "poolclass": QueuePool,
            "connect_args": {"check_same_thread": False, "timeout": _LOCKED_FOR},
        }
        writing = create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=0, **options)
        reading = create_engine(
            f"sqlite:///{path}",
            pool_size=8,
            max_overflow=64,
            isolation_level="AUTOCOMMIT",
            **options,
        )
        event.listen(writing, "connect", _take_over_transactions)
        event.listen(writing, "begin", _begin_immediately)
        return writing, reading

    def _own(self) -> None:
        if self.path is not None:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            with self._reading.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if found != "ok":
                raise _cannot_open(self.name, f"it is damaged: {found}")
            return
        self._writing.connect().close()

    def _take_lock(self, connection: Any, _record: Any) -> None:
        # The one connection that writes has the lock as long as it lives: who lost both, to a
        # server that was restarted, say, writes nothing before it has the lock again. The server
        # sees the end of a process that was killed a moment later.
        deadline = time.monotonic() + _LOCKED_FOR
        with contextlib.closing(connection.cursor()) as cursor:
            while True:
                cursor.execute(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})")
                (held,) = cursor.fetchone()
                connection.rollback()
                if held:
                    return
                if time.monotonic() > deadline:
                    break
                time.sleep(_PAUSE)
        raise ConflictError(
            f"Another control plane uses {self.name}.",
            next_step="Stop it first, or name another database with EI_DATABASE.",
        )

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise _cannot_open(self.name, str(cause).strip()) from error


def _take_over_transactions(connection: Any, _record: Any) -> None:
    # The driver would begin transactions by itself, and too late.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_immediately(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(f"The pool's state has that already: {error.orig}.") from error
    except DBAPIError as error:
        raise UnavailableError(
            f"The control plane cannot use its state in {name}: {str(error.orig).strip()}.",
            next_step="See to the disk or the server where it lies, then repeat.",
        ) from error


def _name_of(url: str) -> str:
    try:
        return make_url(url).render_as_string()
    except ArgumentError as error:
        raise _no_database(error) from error


def _no_database(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"The database URL cannot be used: {error}.",
        next_step="EI_DATABASE is as postgresql+psycopg://USER:PASSWORD@HOST/NAME;"
        " it needs elastic-inference[postgresql].",
    )


def _cannot_open(name: str, why: str) -> ConfigurationError:
    if "locked" in why:
        step = f"Another program has it open; see which with: fuser {name}"
    elif "damaged" in why or "malformed" in why or "not a database" in why:
        step = (
            f"Put a copy of it there, mend it with: sqlite3 {name} .recover, or move it away to"
            " begin anew; accelerators that it knew then end by themselves."
        )
    else:
        step = "Name another directory with --state DIR, or another database with EI_DATABASE."
    return ConfigurationError(f"Cannot open the pool's state {name}: {why}.", next_step=step)
