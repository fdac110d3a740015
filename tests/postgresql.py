"""A PostgreSQL server of the tests' own, where Debian's package `postgresql` is installed."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pools import Program, spare_port

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
# Only tests rely on what this one has written.
_SETTINGS = {"fsync": "off", "listen_addresses": "127.0.0.1", "max_connections": "60"}


class Server:
    """A server that runs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = itertools.count()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://tester@127.0.0.1:{self._port}/{database}"

    def new_database(self) -> str:
        """The URL of a database that is empty."""
        name = f"pool{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def disconnect(self, url: str) -> None:
        """End every connection to a database."""
        name = url.rpartition("/")[2]
        which = f"datname = '{name}'"
        self.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {which}")  # noqa: S608 - a name of this module's

    def execute(self, statement: str) -> None:
        """Run a statement as the server's owner."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self._port, user="tester", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A server that ends with the block; the test is skipped where there is none to start."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="ei-pg-", dir="/tmp") as name:
        folder, port = Path(name), spare_port()
        as_user = _as_user(folder)
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
        data = str(folder / "data")
        make = [str(programs / "initdb"), "-D", data, "-U", "tester", "-A", "trust", "--no-sync"]
        subprocess.run([*as_user, *make], env=env, cwd="/", check=True, capture_output=True)
        settings = _SETTINGS | {"port": str(port), "unix_socket_directories": name}
        words = [f"--{key}={value}" for key, value in settings.items()]
        # With this process it ends too, however that ends.
        run = [*as_user, "--pdeathsig", "INT", str(programs / "postgres"), "-D", data, *words]
        running = Program(run, env)
        try:
            running.wait_for("ready to accept connections")
            yield Server(port)
        finally:
            running.end(signal.SIGINT)


def _programs() -> Path:
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    for place in _PLACES:
        candidates += sorted(Path("/").glob(place[1:]), reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("no PostgreSQL server is installed here (Debian's package postgresql)")


def _as_user(folder: Path) -> list[str]:
    """What runs a command as the owner of `folder`, whom the server takes: root it does not."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("there is no setpriv here to run PostgreSQL with")
    if os.geteuid() != 0:
        return [setpriv]
    names = {each.pw_name for each in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    who = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return [setpriv, *who]
