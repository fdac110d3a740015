"""`ei run` with its own pool: the command's life, and that nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from tests.cli import apps
from tests.pools import EI, Program, accelerator_pids, ei, environment, gone, held, program

RUN = ("run", "--accelerator", "eia1.medium")


@pytest.fixture
def home(short_path: Path) -> Path:
    """EI_HOME; the folder beside it, `tmp`, is where `ei run` keeps what it makes."""
    (short_path / "tmp").mkdir()
    return short_path / "home"


def left(home: Path) -> list[Path]:
    return list((home.parent / "tmp").glob("ei-run-*"))


def temporary(home: Path) -> dict[str, str]:
    return {"TMPDIR": str(home.parent / "tmp")}


def run(home: Path, *words: str, **env: str) -> tuple[int, str, str]:
    """Exit status, output and messages of `ei run`, which must leave nothing behind."""
    done = ei(home, *words, env=temporary(home) | env)
    assert left(home) == []
    return done.returncode, done.stdout, done.stderr


def start(home: Path, *command: str) -> contextlib.AbstractContextManager[Program]:
    words = [*EI, *RUN, "--quiet", "--", *command]
    return program(words, environment(home, **temporary(home)))


def pids(home: Path) -> list[int]:
    """The accelerators of the `ei run` that is under way."""
    (state,) = left(home)
    return list(accelerator_pids(state).values())


def test_an_unmodified_application_infers_on_the_accelerator(home: Path) -> None:
    model, app = apps.double(home.parent), apps.plain(home.parent)
    status, output, messages = run(home, *RUN, "--", sys.executable, app, model)
    assert (status, output) == (0, f"result {apps.EXPECTED}\n")
    assert "(eia1.medium, cpu)" in messages
    assert "1 inference;" in messages
    assert "compute" in messages
    assert "of 1024 MiB" in messages
    assert "cost $0.0" in messages
    assert "warning" not in messages


def test_over_tls_it_is_the_same(home: Path) -> None:
    model, app = apps.double(home.parent), apps.plain(home.parent)
    status, output, messages = run(home, *RUN, "--", sys.executable, app, model, EI_TRANSPORT="tls")
    assert (status, output) == (0, f"result {apps.EXPECTED}\n")
    assert "1 inference;" in messages


def test_hidden_accelerators_are_not_used_and_that_is_said(home: Path) -> None:
    model, app = apps.double(home.parent), apps.plain(home.parent)
    status, output, messages = run(
        home, *RUN, "--", sys.executable, app, model, EI_VISIBLE_DEVICES=""
    )
    assert (status, output) == (0, f"result {apps.EXPECTED}\n")
    assert "no inference reached the accelerator. EI_VISIBLE_DEVICES is empty" in messages


@pytest.mark.parametrize(
    ("command", "why"), [("true", "must use onnxruntime"), ("false", "status 1")]
)
def test_a_run_without_inference_is_told_why(home: Path, command: str, why: str) -> None:
    _, _, messages = run(home, *RUN, "--", command)
    warning = messages.splitlines()[-1]
    assert warning.startswith("ei: warning: no inference reached the accelerator.")
    assert why in warning


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_the_exit_status_is_the_commands(home: Path, script: str, status: int) -> None:
    assert run(home, *RUN, "--quiet", "--", "sh", "-c", script) == (status, "", "")


def test_the_command_has_its_words_and_its_environment(home: Path) -> None:
    script = 'echo "$1|$EI_RUN|$OTHER|$PYTHONPATH"; cat "$AWS_CA_BUNDLE"'
    status, output, _ = run(
        home, *RUN, "--", "sh", "-c", script, "sh", "-- a  b", OTHER="kept", PYTHONPATH="/mine"
    )
    first, _, bundle = output.partition("\n")
    assert (status, first) == (0, "-- a  b|1|kept|/mine")
    assert bundle.count("BEGIN CERTIFICATE") >= 1


def test_the_users_own_authorities_stay_trusted(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text("# of the user\n")
    script = 'cat "$AWS_CA_BUNDLE"'
    _, output, _ = run(home, *RUN, "--", "sh", "-c", script, AWS_CA_BUNDLE=str(own))
    assert output.startswith("# of the user\n")
    assert output.count("BEGIN CERTIFICATE") == 1


def test_several_accelerators_in_the_order_of_their_types(home: Path) -> None:
    script = (
        "import os, urllib.request as r\n"
        "base = os.environ['AWS_EC2_METADATA_SERVICE_ENDPOINT']"
        " + '/latest/meta-data/elastic-inference/associations'\n"
        "for name in r.urlopen(base).read().decode().split():\n"
        "    print(r.urlopen(base + '/' + name).read().decode())\n"
    )
    status, output, messages = run(
        home, "run", "--accelerator", "eia2.medium,eia.medium", "--", sys.executable, "-c", script
    )
    assert status == 0
    assert ["eia2.medium" in line for line in output.splitlines()] == [True, False]
    assert messages.count(" MiB (peak ") == 2


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("run", "--accelerator", "eia1.medium", "true"), 2, "needs -- and a command"),
        ((*RUN, "--"), 2, "needs -- and a command"),
        (("run", "--", "true"), 2, "--accelerator"),
        (("run", "--accelerator", "eia9.huge", "--", "true"), 2, "eia1.medium, eia1.large"),
        (("run", "--accelerator", ",".join(["eia1.medium"] * 6), "--", "true"), 2, "from 1 to 5"),
        (("run", "--accelerator", ",", "--", "true"), 2, "from 1 to 5"),
        ((*RUN, "--", "no-such-command"), 127, "command not found"),
        ((*RUN, "--", "/etc/passwd"), 126, "not an executable file"),
        ((*RUN, "--", "/no/such/file"), 127, "command not found"),
    ],
)
def test_wrong_usage_is_told_in_a_line(
    home: Path, words: tuple[str, ...], status: int, why: str
) -> None:
    ended, output, messages = run(home, *words)
    assert (ended, output) == (status, "")
    assert why in messages.splitlines()[-1]


@pytest.mark.parametrize("name", ["EI_INSTANCE_LEASE", "EI_MAX_BODY", "EI_TIMEOUT"])
def test_a_wrong_setting_is_named(home: Path, name: str) -> None:
    status, _, messages = run(home, *RUN, "--", "true", **{name: "soon"})
    assert (status, len(messages.splitlines())) == (1, 1)
    assert f"{name}='soon'" in messages


def test_no_room_on_the_node_is_a_failure(home: Path) -> None:
    status, _, messages = run(home, *RUN, "--", "true", EI_NODE_MEMORY="512MiB")
    assert status == 1
    assert "EI_NODE_MEMORY" in messages


def test_a_file_that_cannot_be_executed_after_all(home: Path) -> None:
    broken = home.parent / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    status, _, messages = run(home, *RUN, "--quiet", "--", str(broken))
    assert status == 126
    assert "Exec format error" in messages


def test_kill_9_of_ei_run_ends_command_and_accelerators(home: Path) -> None:
    with start(home, "sh", "-c", "echo pid $$; exec sleep 1000") as running:
        command = int(running.wait_for("pid").split()[1])
        (accelerator,) = pids(home)
        with held(command) as one, held(accelerator) as other:
            assert running.end(signal.SIGKILL) == -signal.SIGKILL
            assert gone(one)
            assert gone(other)


def test_what_a_killed_run_left_on_disk_goes_with_a_later_one(home: Path) -> None:
    remains = home.parent / "tmp" / "ei-run-remains"
    remains.mkdir()
    (remains / "owner").touch()
    os.utime(remains, (1, 1))
    assert run(home, *RUN, "--quiet", "--", "true") == (0, "", "")


def test_kill_9_of_the_command_ends_the_run(home: Path) -> None:
    with start(home, "sh", "-c", "echo pid $$; exec sleep 1000") as running:
        command = int(running.wait_for("pid").split()[1])
        (accelerator,) = pids(home)
        with held(accelerator) as process:
            os.kill(command, signal.SIGKILL)
            assert running.end(0) == 137
            assert gone(process)


def test_kill_9_of_the_accelerator_is_not_noticed_by_the_application(home: Path) -> None:
    model, app = apps.double(home.parent), apps.twice(home.parent)
    pipe = home.parent / "pipe"
    os.mkfifo(pipe)
    words = [*EI, *RUN, "--", sys.executable, app, model, str(pipe)]
    with program(words, environment(home, **temporary(home))) as running:
        assert apps.EXPECTED in running.wait_for("first")
        (accelerator,) = pids(home)
        with held(accelerator) as process:
            os.kill(accelerator, signal.SIGKILL)
            assert gone(process)
        pipe.write_text("go on")
        assert apps.EXPECTED in running.wait_for("second")
        running.wait_for("started again 1 time(s)")
        assert running.end(0) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(home: Path, number: signal.Signals) -> None:
    script = "trap 'exit 9' TERM INT USR1; echo ready; while :; do sleep 0.05; done"
    with start(home, "sh", "-c", script) as running:
        running.wait_for("ready")
        assert running.end(number) == 9


def test_a_terminal_that_closes_ends_the_command_and_everything_else(home: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        script = "echo ready; exec sleep 1000"
        words = [*EI, *RUN, "--", "sh", "-c", script]
        os.execvpe(words[0], words, environment(home, **temporary(home)))  # noqa: S606 - the child
    try:
        seen = b""
        while b"ready" not in seen:
            seen += os.read(terminal, 4096)
        (accelerator,) = pids(home)
        with held(accelerator) as process:
            os.close(terminal)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
            assert gone(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert left(home) == []


def test_nested_runs(home: Path) -> None:
    status, output, _ = run(
        home, *RUN, "--quiet", "--", *EI, "run", "--quiet", "--accelerator", "eia1.large", "--",
        "sh", "-c", "echo $EI_RUN",
    )  # fmt: skip
    assert (status, output) == (0, "1\n")
