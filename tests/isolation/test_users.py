"""Giving user ids away, and ending what runs under one."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from elastic_inference.isolation import users
from elastic_inference.isolation.launcher import command

_BREED = """
import os
print("breeding", flush=True)
while True:
    try:
        if os.fork() and os.fork():
            os._exit(0)
    except OSError:
        pass
"""
_WAIT = "import signal; print('waiting', flush=True); signal.pause()"


def test_user_ids_are_of_a_range_that_systems_do_not_use() -> None:
    some = {users.new_uid() for _ in range(100)}
    assert len(some) > 90
    assert all(users.owns(uid) for uid in some)
    assert not any(users.owns(uid) for uid in (0, 1000, 65534, 1 << 20, 2**31))


@pytest.mark.parametrize(
    ("table", "enough"),
    [
        ("0 0 4294967295", True),
        ("0 100000 65536", False),
        ("0 0 1\n1 100000 4000000000", True),
        (f"0 0 {users.FIRST + users.COUNT - 1}", False),
        (f"{users.FIRST} 0 {users.COUNT}", True),
        ("", False),
    ],
)
def test_a_namespace_must_have_the_whole_range(table: str, enough: bool) -> None:
    assert users._covers(table) is enough


@pytest.mark.parametrize("uid", [0, 1000, 65534, os.geteuid()])
def test_nobody_elses_processes_are_ended(uid: int) -> None:
    with pytest.raises(ValueError, match="is not a user"):
        users.end_all(uid)


@pytest.mark.root
def test_all_of_a_users_processes_end_and_nobody_elses(uid: int) -> None:
    argv = [sys.executable, "-I", "-S", "-c", _WAIT]
    processes = [
        subprocess.Popen(command(argv, uid=each), stdout=subprocess.PIPE)
        for each in (uid, uid, users.new_uid())
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.stdout.close()
    assert users.is_of(processes[0].pid, uid)
    users.end_all(uid)
    assert [process.poll() for process in processes] == [-9, -9, None]
    processes[2].kill()
    processes[2].wait()
    assert not users.is_of(processes[0].pid, uid)


@pytest.mark.root
def test_those_that_multiply_end_too(uid: int) -> None:
    words = command([sys.executable, "-I", "-S", "-c", _BREED], uid=uid, processes=50)
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"breeding\n"
        users.end_all(uid)
        # Every one of them had the other end of the pipe.
        ready, _, _ = select.select([process.stdout], [], [], 30.0)
        assert ready
    assert users._processes_of(uid) == []


@pytest.mark.root
def test_who_is_to_be_ended_cannot_end_the_one_who_does_it(uid: int) -> None:
    """It runs with the rights of a user that nobody else has, and reaches that one alone."""
    code = users._END.replace("os.kill(-1, 9)", "print(os.getresuid(), flush=True); input()")
    nobody = users.new_uid()
    words = [sys.executable, "-I", "-S", "-c", code, str(uid), str(nobody)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        assert helper.stdout is not None
        assert helper.stdout.readline().decode().split() == [f"({nobody},", f"{uid},", f"{nobody})"]
        kill = command(["kill", "-9", str(helper.pid)], uid=uid)
        assert subprocess.run(kill, check=False, capture_output=True).returncode != 0
        helper.communicate(b"\n")
        assert helper.returncode == 0


@pytest.mark.root
def test_another_user_has_no_users_to_give(uid: int) -> None:
    code = "from elastic_inference.isolation import users; print(users.separation().why_not)"
    words = command([sys.executable, "-c", code], uid=uid)
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "only root can do that\n"
