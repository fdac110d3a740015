"""Programs with the rights of another user, and a view of the files of their own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.isolation.launcher import command

_SELF = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
mask = os.umask(0)
print(json.dumps({
    "pid": os.getpid(), "uid": status["Uid"].split(), "gid": status["Gid"].split(),
    "groups": os.getgroups(), "rights": int(status["CapEff"], 16) | int(status["CapPrm"], 16),
    "never": status["NoNewPrivs"].strip(), "umask": mask, "cwd": os.getcwd(),
    "mine": os.environ.get("MINE"),
}))
"""
_LOOK = """
import json, os, sys
def look(path):
    try:
        return sorted(os.listdir(path)) if os.path.isdir(path) else open(path).read()
    except OSError as error:
        return type(error).__name__
print(json.dumps([look(path) for path in sys.argv[1:]]))
"""


def run(code: str, *words: str | Path, **how: Any) -> Any:
    """What `code` prints as JSON that runs as `command` says."""
    environ = how.pop("env", None)
    argv = [sys.executable, "-I", "-S", "-c", code, *map(str, words)]
    done = subprocess.run(
        command(argv, **how), capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def closed(short_path: Path) -> Path:
    """A directory that root alone may enter."""
    (short_path / "secret").write_text("s3cret")
    return short_path


@pytest.mark.root
def test_it_has_that_users_rights_and_no_others(uid: int) -> None:
    seen = run(_SELF, uid=uid, groups=(uid + 1,), env={"MINE": "kept"})
    assert seen["uid"] == seen["gid"] == [str(uid)] * 4
    assert seen["groups"] == [uid + 1]
    assert (seen["rights"], seen["never"], seen["umask"]) == (0, "1", 0o077)
    assert (seen["cwd"], seen["mine"]) == ("/", "kept")


@pytest.mark.root
def test_it_is_the_process_that_was_started(uid: int) -> None:
    argv = [sys.executable, "-I", "-S", "-c", _SELF]
    words = command(argv, uid=uid, gid=uid + 1, umask=0o027, cwd="/usr")
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = json.loads(process.stdout.read())
    assert seen["pid"] == process.pid
    assert (seen["gid"][0], seen["umask"], seen["cwd"]) == (str(uid + 1), 0o027, "/usr")


@pytest.mark.root
def test_what_is_exposed_is_reached_and_nothing_beside_it(uid: int, closed: Path) -> None:
    inner = closed / "deep" / "inner"
    inner.mkdir(parents=True, mode=0o755)
    (inner / "open").write_text("hello")
    (inner / "shut").write_text("no")
    (inner / "shut").chmod(0o600)
    seen = run(
        _LOOK, closed, inner, inner / "open", inner / "shut", closed / "secret",
        uid=uid, expose=[inner],
    )  # fmt: skip
    assert seen == [["deep"], ["open", "shut"], "hello", "PermissionError", "FileNotFoundError"]
    assert (closed / "secret").read_text() == "s3cret"
    assert sorted(each.name for each in closed.iterdir()) == ["deep", "secret"]


@pytest.mark.root
def test_one_exposed_path_may_lie_below_another(uid: int, closed: Path) -> None:
    outer = closed / "outer"
    inner = outer / "shut" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("hello")
    (outer / "shut" / "other").write_text("no")
    (outer / "shut").chmod(0o700)
    seen = run(_LOOK, inner / "file", outer, outer / "shut", uid=uid, expose=[inner, outer])
    assert seen == ["hello", ["shut"], ["inner"]]


@pytest.mark.root
def test_links_on_the_way_lead_where_they_did(uid: int, closed: Path) -> None:
    (closed / "real").mkdir(mode=0o755)
    (closed / "real" / "file").write_text("hello")
    (closed / "again").symlink_to("real")
    (closed / "link").symlink_to(closed / "again" / "file")
    seen = run(_LOOK, closed / "link", closed / "again", uid=uid, expose=[closed / "link"])
    assert seen == ["hello", ["file"]]


@pytest.mark.root
def test_the_homes_of_others_are_hidden_or_shut(uid: int) -> None:
    """Python lies in root's home on some machines, and is exposed with it."""
    home = Path.home()
    assert home.stat().st_uid == 0
    if home.stat().st_mode & 0o001:
        pytest.skip(f"{home} is open to everybody")
    seen = run(_LOOK, home, home / ".bashrc", home / ".ssh", uid=uid)
    assert all(each in ("PermissionError", "FileNotFoundError") for each in seen[1:])
    assert seen[0] == "PermissionError" or set(seen[0]) <= {Path(sys.base_prefix).parts[2]}


@pytest.mark.root
def test_the_directory_where_it_was_started_is_not_its_way_out(uid: int, closed: Path) -> None:
    (closed / "inner").mkdir(mode=0o755)
    argv = [sys.executable, "-I", "-S", "-c", _LOOK, ".", "secret", "../secret"]
    words = command(argv, uid=uid, expose=[closed / "inner"])
    done = subprocess.run(words, cwd=closed, capture_output=True, text=True, check=True)
    assert "secret" not in json.loads(done.stdout)[0]
    assert json.loads(done.stdout)[1:] == ["FileNotFoundError"] * 2


@pytest.mark.root
def test_nothing_of_its_view_is_seen_here(uid: int, closed: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    (closed / "inner").mkdir()
    words = command(["cat", "/proc/self/mountinfo"], uid=uid, expose=[closed / "inner"])
    inside = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert str(closed) in inside
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.root
def test_open_descriptors_come_with_it_and_root_does_not(uid: int) -> None:
    reader, writer = os.pipe()
    code = "import os, sys; os.write(int(sys.argv[1]), b'x'); os.setresuid(0, 0, 0)"
    argv = [sys.executable, "-I", "-S", "-c", code, str(writer)]
    done = subprocess.run(
        command(argv, uid=uid), pass_fds=[writer], capture_output=True, text=True, check=False
    )
    os.close(writer)
    assert os.read(reader, 2) == b"x"
    os.close(reader)
    assert "PermissionError" in done.stderr


@pytest.mark.root
def test_it_ends_with_who_started_it_where_that_is_wanted(uid: int) -> None:
    code = """
import subprocess, sys
from elastic_inference.isolation.launcher import command
code = "import os, signal, sys; print(os.getpid(), flush=True); signal.pause()"
argv = [sys.executable, "-I", "-S", "-c", code]
with subprocess.Popen(command(argv, uid=int(sys.argv[1]), death_signal=9)) as process:
    process.wait()
"""
    argv = [sys.executable, "-c", code, str(uid)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pidfd = os.pidfd_open(int(starter.stdout.readline()))
        starter.kill()
        # Its end of the pipe closes when it is gone too.
        assert starter.stdout.read() == b""
    os.close(pidfd)


@pytest.fixture
def network() -> Iterator[str]:
    if shutil.which("ip") is None:
        pytest.skip("no iproute2")
    name = f"ei-test-{secrets.token_hex(4)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces: {made.stderr.strip()}")
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.root
def test_it_may_be_in_another_network(uid: int, network: str) -> None:
    code = "import os, json; print(json.dumps(os.stat('/proc/self/ns/net').st_ino))"
    inside = run(code, uid=uid, network=network)
    assert inside == Path("/run/netns", network).stat().st_ino
    assert run(code, uid=uid) == Path("/proc/self/ns/net").stat().st_ino


@pytest.mark.root
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"expose": ["/no/such/path"]}, "/no/such/path"),
        ({"network": "no-such-network"}, "no-such-network"),
        ({"cwd": "/no/such/path"}, "/no/such/path"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_started(
    uid: int, how: dict[str, Any], says: str
) -> None:
    words = command(["echo", "started"], uid=uid, **how)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (126, "")
    assert says in done.stderr


@pytest.mark.root
def test_links_without_end_are_refused(uid: int, closed: Path) -> None:
    (closed / "a").symlink_to("b")
    (closed / "b").symlink_to("a")
    words = command(["echo", "started"], uid=uid, expose=[closed / "a"])
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (126, "")


@pytest.mark.parametrize(
    "how",
    [
        {"uid": 0},
        {"uid": -1},
        {"uid": 2**32 - 1},
        {"gid": 0},
        {"groups": (0,)},
        {"groups": range(1, 100)},
        {"expose": ["relative"]},
        {"expose": ["/nul\0"]},
        {"expose": [f"/{number}" for number in range(1000)]},
        {"expose": ["/" + "x" * 5000]},
        {"network": "../../etc/passwd"},
        {"network": ""},
        {"cwd": "relative"},
        {"umask": 0o1000},
        {"death_signal": 65},
        {"processes": -1},
        {"argv": []},
        {"argv": [""]},
        {"argv": ["nul\0"]},
    ],
)
def test_what_makes_no_sense_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        command(**{"argv": ["true"], "uid": 1 << 20, **how})


@pytest.mark.root
def test_a_signal_reaches_the_program_itself(uid: int) -> None:
    argv = [sys.executable, "-I", "-S", "-c", "import signal; print(1, flush=True); signal.pause()"]
    with subprocess.Popen(command(argv, uid=uid), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        process.terminate()
        assert process.wait(30.0) == -signal.SIGTERM
