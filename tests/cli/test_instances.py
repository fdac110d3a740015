"""`ei launch`, `exec` and what else is done to instances, at the command line."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import apps
from tests.cli.pool import Shell, shared
from tests.pools import EI, PATIENCE, ei, environment, program

pytestmark = pytest.mark.slow

README = Path(__file__).parent.parent.parent / "README.md"
root = pytest.mark.skipif(os.geteuid() != 0, reason="users of their own need root")


@pytest.fixture(scope="module", params=["isolated", "own user"])
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """A pool whose instances have users of their own, and one where the user runs commands."""
    if request.param == "isolated" and os.geteuid() != 0:
        pytest.skip("users of their own need root")
    with shared(EI_SEPARATE_USERS="auto" if request.param == "isolated" else "off") as made:
        yield made


@pytest.fixture(scope="module")
def instance(shell: Shell) -> str:
    return shell.launch("--accelerator", "eia1.medium", "--name", "one")


def test_a_launch_tells_the_id_and_the_accelerators(shell: Shell) -> None:
    text = shell.ok("launch", "--accelerator", "eia1.medium:2", "--tag", "team=a")
    lines = text.splitlines()
    assert lines[0].startswith("i-")
    assert lines[1].strip() == "running"
    assert [line.split()[1] for line in lines[2:]] == ["eia1.medium", "eia1.medium"]
    found = shell.document("describe", "instances", "--instance", lines[0])["instances"]
    assert [each["tags"] for each in found] == [{"team": "a"}]
    shell.ok("terminate", lines[0])


def test_notes_of_a_launch_stand_beside_its_output(shell: Shell) -> None:
    words = ("launch", "--accelerator", "eia1.medium,eia2.medium", "-o", "id")
    done = ei(shell.home, *words)
    assert done.returncode == 0
    assert done.stdout.strip().startswith("i-")
    assert "several generations" in done.stderr
    shell.ok("terminate", done.stdout.strip())


def test_the_same_client_token_is_the_same_instance(shell: Shell) -> None:
    words = ("--client-token", "once", "--accelerator", "eia1.medium")
    first = shell.launch(*words)
    assert shell.launch(*words) == first
    shell.ok("terminate", first)


def test_a_command_has_its_status_environment_and_streams(shell: Shell, instance: str) -> None:
    script = 'echo "out $A"; echo err >&2; cat; exit 7'
    done = subprocess.run(
        [*EI, "exec", instance, "--env", "A=b c", "--", "sh", "-c", script],
        env=environment(shell.home),
        input="typed\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "out b c\ntyped\n", "err\n")


def test_a_command_runs_where_it_is_told(shell: Shell, instance: str) -> None:
    assert shell.ok("exec", instance, "--directory", "/", "--", "pwd") == "/\n"


def test_what_cannot_be_run_ends_as_in_a_shell(shell: Shell, instance: str) -> None:
    for command, status in (("no-such-command", 127), ("/etc/passwd", 126)):
        done = ei(shell.home, "exec", instance, "--", command)
        assert done.returncode == status
        assert command in done.stderr


def test_a_command_infers_on_the_instance_s_accelerator(
    shell: Shell, instance: str, tmp_path: Path
) -> None:
    script = (
        "import sys, numpy as np, onnxruntime as ort\n"
        "session = ort.InferenceSession(sys.stdin.buffer.read())\n"
        "print(session.run(None, {'x': np.arange(4, dtype=np.float32)})[0].tolist())"
    )
    with Path(apps.double(tmp_path)).open("rb") as model:
        done = subprocess.run(
            [*EI, "exec", instance, "--", sys.executable, "-c", script],
            env=environment(shell.home),
            stdin=model,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stdout.strip()) == (0, apps.EXPECTED), done.stderr
    (found,) = shell.document("describe", "accelerators", "--instance", instance)["accelerators"]
    assert found["usage"]["requests"] == 1


def test_a_signal_goes_to_the_command(shell: Shell, instance: str) -> None:
    script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    words = [*EI, "exec", instance, "--", "sh", "-c", script]
    with program(words, environment(shell.home)) as running:
        running.wait_for("ready")
        assert running.end(signal.SIGTERM) == 3
        assert "caught\n" in running.said()


def test_a_shell_reads_commands(shell: Shell, instance: str) -> None:
    done = subprocess.run(
        [*EI, "shell", instance],
        env=environment(shell.home),
        input="echo $((6 * 7)); exit 5\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 5
    assert "42" in done.stdout


def test_a_shell_has_a_terminal_where_there_is_one(shell: Shell, instance: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(EI[0], [*EI, "shell", instance], environment(shell.home))  # noqa: S606
    try:
        os.write(terminal, b"tty && stty size; exit 4\n")
        seen = b""
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            seen += piece
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 4
    assert b"/dev/pts/" in seen


def test_accelerators_come_and_go(shell: Shell, instance: str) -> None:
    made = shell.document("attach", instance, "eia1.medium")
    known = ("describe", "accelerators", "--instance", instance)
    ids = [each["acceleratorId"] for each in shell.document(*known)["accelerators"]]
    assert made["acceleratorId"] in ids
    assert instance in shell.ok("detach", made["acceleratorId"])
    after = [each["acceleratorId"] for each in shell.document(*known)["accelerators"]]
    assert after == [each for each in ids if each != made["acceleratorId"]]


def test_tags_are_set_and_taken_away(shell: Shell, instance: str) -> None:
    shell.ok("tag", instance, "a=1", "b=2=3")
    shell.ok("tag", instance, "--remove", "a")
    (found,) = shell.document("describe", "instances", "--instance", instance)["instances"]
    assert found["tags"] == {"b": "2=3"}


def test_instances_stop_start_reboot_and_end(shell: Shell) -> None:
    one, other = (shell.launch("--accelerator", "eia1.medium") for _ in range(2))
    assert shell.ok("stop", one, other) == f"{one} is stopped\n{other} is stopped\n"
    stopped = shell.document("describe", "instances", "--state", "stopped")["instances"]
    assert {each["instanceId"] for each in stopped} >= {one, other}
    status, why = shell.fails("exec", one, "--", "true")
    assert status == 1
    assert f"ei start {one}" in why
    assert shell.ok("start", one) == f"{one} is running\n"
    assert shell.ok("reboot", one) == f"{one} is running again\n"
    done = ei(shell.home, "terminate", "i-00000000000000000", one, other)
    assert done.returncode == 1
    assert "There is no instance 'i-00000000000000000'" in done.stderr
    assert done.stdout == f"{one} is terminated\n{other} is terminated\n"


def test_validation_tells_what_is_wrong_and_mends_it(shell: Shell) -> None:
    instance = shell.launch()
    done = ei(shell.home, "validate", instance)
    assert done.returncode == 1
    assert "WRONG  accelerators" in done.stdout
    fix = done.stdout.partition("fix: ")[2].splitlines()[0]
    assert fix.startswith("ei attach")
    shell.ok(*fix.split()[1:])
    shown = shell.ok("validate", instance)
    assert "WRONG" not in shown
    checks = shell.document("validate", instance)["instances"][0]["checks"]
    assert all(each["ok"] for each in checks)
    # Within it, its own is meant.
    words = (*EI, "validate", "-o", "json")
    assert instance in shell.ok("exec", instance, "--", *words)
    shell.ok("terminate", instance)


@root
def test_user_data_is_read_from_a_file(shell: Shell) -> None:
    if shell.document("describe", "types") and _own_user(shell):
        script = shell.home / "setup.sh"
        script.write_text("touch done\n")
        status, why = shell.fails("launch", "--user-data", str(script))
        assert status == 1
        assert "ei exec" in why
        return
    script = shell.home / "setup.sh"
    script.write_text("echo made > $HOME/made\n")
    instance = shell.launch("--user-data", str(script))
    waiting = "until test -s made; do sleep 0.02; done; cat made"
    assert shell.ok("exec", instance, "--", "sh", "-c", waiting) == "made\n"
    shell.ok("terminate", instance)


def _own_user(shell: Shell) -> bool:
    found = shell.document("describe", "instances")["instances"]
    return all(each.get("network") is None for each in found)


WRONG = [
    (("launch", "--accelerator", "eia9.huge"), "eia9.huge"),
    (("launch", "--accelerator", "eia1.medium:0"), "a count is from 1"),
    (("launch", "--accelerator", "eia1.medium:x"), "a count is from 1"),
    (("launch", "--accelerator", "eia1.medium:6"), "EI_MAX_ACCELERATORS"),
    (("launch", "--tag", "novalue"), "KEY=VALUE"),
    (("launch", "--user-data", "/no/such"), "/no/such"),
    (("launch", "--role", "nobody"), "nobody"),
    (("launch", "--subnet", "subnet-0"), "subnet-0"),
    (("exec", "i-0", "--", "true"), "There is no instance 'i-0'"),
    (("exec", "i-0", "true"), "needs -- and a command"),
    (("exec", "i-0", "--env", "=x", "--", "true"), "--env"),
    (("exec", "i-0", "--env", "novalue", "--", "true"), "--env"),
    (("stop",), "INSTANCE"),
    (("stop", "i-0"), "There is no instance 'i-0'"),
    (("stop", "i-0", "--", "true"), "takes no command after --"),
    (("attach", "i-0", "eia1.medium"), "i-0"),
    (("detach", "eia-0"), "eia-0"),
    (("tag", "i-0"), "no tag to set"),
    (("tag", "i-0", "a=b"), "i-0"),
    (("validate", "i-0"), "i-0"),
    (("describe", "types", "--state", "running"), "--state is for"),
    (("describe", "instances", "--state", "ok"), "no state of instances"),
    (("describe", "instances", "--watch", "--interval", "soon"), "--interval"),
]


def test_wrong_usage_is_told_in_a_line(shell: Shell) -> None:
    for words, why in WRONG:
        _, line = shell.fails(*words)
        assert why in line, (words, line)


def test_a_run_has_counts_a_role_and_tags(shell: Shell) -> None:
    shell.ok("access", "role", "create", "runner")
    words = ("run", "--accelerator", "eia1.medium:2", "--role", "runner", "--tag", "a=b", "--quiet")
    look = (*EI, "describe", "instances", "--state", "running", "-o", "json")
    found = json.loads(shell.ok(*words, "--", *look))["instances"]
    (run,) = [each for each in found if each["provider"] == "command"]
    assert (run["roleName"], run["tags"]) == ("runner", {"a": "b"})
    assert run["acceleratorTypes"] == ["eia1.medium", "eia1.medium"]


def test_types_and_nodes_of_processors_are_said_to_be_best_effort(shell: Shell) -> None:
    assert shell.document("describe", "types")["bestEffort"]
    assert "are virtual" in shell.ok("describe", "types").splitlines()[-1]
    (node,) = shell.document("describe", "nodes")["nodes"]
    assert node["bestEffort"]
    assert "are virtual" in shell.ok("describe", "nodes").splitlines()[-1]


def test_accelerators_are_filtered_by_health(shell: Shell, instance: str) -> None:
    words = ("describe", "accelerators", "--instance", instance, "--state")
    assert len(shell.document(*words, "ok")["accelerators"]) == 1
    assert shell.document(*words, "impaired")["accelerators"] == []


def test_the_readme_s_commands_work_as_they_stand(shell: Shell, tmp_path: Path) -> None:
    (readme,) = [
        block
        for block in re.findall(r"```sh\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
        if "ei launch" in block
    ]
    work, programs = tmp_path / "work", tmp_path / "programs"
    for folder in (work, programs):
        folder.mkdir()
    Path(apps.double(work)).rename(work / "model.onnx")
    (work / "application.py").write_text(
        "import numpy as np, onnxruntime as ort\n"
        "session = ort.InferenceSession('model.onnx')\n"
        "print(session.run(None, {'x': np.arange(4, dtype=np.float32)})[0].tolist())\n"
    )
    (programs / "ei").write_text(f'#!/bin/sh\nexec {" ".join(EI)} "$@"\n')
    (programs / "ei").chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", readme],
        cwd=work,
        env=environment(shell.home, PATH=path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert apps.EXPECTED in done.stdout
    assert "WRONG" not in done.stdout
    assert done.stdout.rstrip().endswith("is terminated")
