"""Ending a process of which nothing is known but the lock that it holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elastic_inference.fleet.lock import end_owner

_HOLD = """
import fcntl, os, signal, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.pwrite(file, (sys.argv[2] if len(sys.argv) > 2 else str(os.getpid())).encode(), 0)
print("held", flush=True)
signal.pause()
"""


@contextmanager
def holder(path: Path, *says: str) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-c", _HOLD, str(path), *says]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_the_owner_is_ended_even_if_it_is_stopped(tmp_path: Path) -> None:
    with holder(tmp_path / "lock") as process:
        process.send_signal(signal.SIGSTOP)
        assert end_owner(tmp_path / "lock", 30.0)
        assert process.wait(30.0) == -signal.SIGKILL


def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    """The one that holds the lock has not said yet who it is."""
    with holder(tmp_path / "other") as innocent, holder(tmp_path / "lock", str(innocent.pid)) as it:
        assert not end_owner(tmp_path / "lock", 30.0)
        assert innocent.poll() is None
        assert it.poll() is None


def test_where_nobody_holds_it_nothing_is_done(tmp_path: Path) -> None:
    assert end_owner(tmp_path / "lock", 30.0)
    (tmp_path / "lock").write_text(str(os.getpid()))
    assert end_owner(tmp_path / "lock", 30.0)
