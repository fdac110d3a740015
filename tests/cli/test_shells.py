"""What `ei` does for a shell: variables, completion, and what changes on the screen."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path

import pytest

from elastic_inference.cli.complete import candidates
from tests.cli.pool import Shell, shared
from tests.pools import EI, PATIENCE, ei, environment, program

bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with shared() as made:
        yield made


@pytest.fixture(scope="module")
def instance(shell: Shell) -> str:
    return shell.launch("--accelerator", "eia1.medium", "--name", "one")


def _command(folder: Path) -> Path:
    """A folder with `ei` in it."""
    script = folder / "ei"
    script.write_text(f'#!/bin/sh\nexec {" ".join(EI)} "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_each_shell_reads_its_script(tmp_path: Path, name: str) -> None:
    script = ei(tmp_path, "completion", name).stdout
    assert "ei __complete" in script.replace('"${COMP_WORDS[0]}"', "ei").replace(
        '"${words[1]}"', "ei"
    ).replace("$words[1]", "ei")
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    subprocess.run([name, "-n"], input=script, text=True, check=True, timeout=PATIENCE)


@bash
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ei laun", ["launch"]),
        ("ei access role ", ["create", "delete", "list", "assume"]),
        ("ei launch --acc", ["--accelerator"]),
        ("ei describe inst", ["instances"]),
        ("ei bill -o ", ["table", "json", "csv"]),
    ],
)
def test_bash_completes(tmp_path: Path, line: str, found: list[str]) -> None:
    assert _completed(tmp_path, environment(tmp_path), line) == found


@bash
def test_bash_completes_ids_of_the_pool(shell: Shell, instance: str, tmp_path: Path) -> None:
    found = _completed(tmp_path, environment(shell.home), f"ei stop {instance[:4]}")
    assert found == [instance]
    types = _completed(tmp_path, environment(shell.home), "ei launch --accelerator eia2.")
    assert types == ["eia2.medium", "eia2.large", "eia2.xlarge"]


def _completed(folder: Path, env: dict[str, str], line: str) -> list[str]:
    """What bash offers after `line` and a tab."""
    words = line.split(" ")
    script = (
        'eval "$(ei completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ei;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{_command(folder)}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words],
        env=env | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["exec", "i-1", "--", ""], []),
        (["launch", "--name", ""], []),
        (["network", "allow", "--direction", "in"], ["ingress"]),
        (["network", "allow", "sg-1", "--port", "443", "--t"], ["--to"]),
        (["describe", "types", ""], []),
        (["nonsense", ""], []),
        (["", ""], []),
    ],
)
def test_what_may_stand_at_a_place(words: list[str], found: list[str], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EI_HOME", str(tmp_path))
        assert list(candidates(words)) == found


def test_completion_is_silent_where_the_pool_is_away(tmp_path: Path) -> None:
    pointer = {"endpoint": "https://127.0.0.1:1", "server_name": "x", "ca": "",
               "access_key_id": "a", "secret_access_key": "b"}  # fmt: skip
    (tmp_path / "current.json").write_text(json.dumps(pointer))
    done = ei(tmp_path, "__complete", "stop", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_lines_for_a_shell_lead_its_programs_to_the_pool(shell: Shell) -> None:
    values = shell.document("env")
    bundle = Path(values["AWS_CA_BUNDLE"]).read_text()
    assert bundle.count("BEGIN CERTIFICATE") >= 1
    script = (
        'eval "$(ei env)"; unset EI_HOME; HOME=/nowhere;'
        ' ei describe nodes -o json; echo "$AWS_REGION ${AWS_SESSION_TOKEN-none}"'
    )
    env = environment(shell.home, AWS_SESSION_TOKEN="of another")
    done = subprocess.run(
        ["sh", "-c", script],
        env=env | {"PATH": f"{_command(shell.home)}:{env['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    document, _, last = done.stdout.rstrip("\n").rpartition("\n")
    assert json.loads(document)["nodes"]
    assert last == "us-east-1 none"


def test_a_bundle_holds_what_was_trusted_before(shell: Shell, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text("-----BEGIN CERTIFICATE-----\nown\n-----END CERTIFICATE-----\n")
    values = shell.document("env", env={"AWS_CA_BUNDLE": str(own)})
    assert "\nown\n" in Path(values["AWS_CA_BUNDLE"]).read_text()


@pytest.mark.parametrize("what", [("describe", "instances"), ("bill", "--by", "instance")])
def test_what_changes_is_appended_outside_of_a_terminal(
    shell: Shell, instance: str, what: tuple[str, ...]
) -> None:
    words = [*EI, *what, "--watch", "--interval", "100ms"]
    with program(words, environment(shell.home)) as running:
        running.wait_for(instance)
        running.wait_for(instance)
        assert running.end(signal.SIGINT) == 0
        assert "\x1b" not in "".join(running.said())


def test_what_changes_is_a_document_a_line_in_json(shell: Shell, instance: str) -> None:
    words = [*EI, "describe", "instances", "--watch", "--interval", "100ms", "-o", "json"]
    with program(words, environment(shell.home)) as running:
        line = running.wait_for(instance)
        assert json.loads(line)["instances"]
        assert running.end(signal.SIGINT) == 0


def test_what_changes_is_drawn_over_in_a_terminal(shell: Shell, instance: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        words = [*EI, "describe", "instances", "--watch", "--interval", "100ms"]
        os.execve(words[0], words, environment(shell.home))  # noqa: S606
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    seen = b""
    try:
        while seen.count(instance.encode()) < 3:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
    finally:
        os.kill(pid, signal.SIGTERM) if seen.count(instance.encode()) < 3 else None
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert seen.count(b"\x1b[H") >= 3


WRONG = [
    (("completion",), "shell"),
    (("completion", "csh"), "csh"),
    (("env", "-o", "table"), "table"),
    (("env", "extra"), "extra"),
]


def test_wrong_usage_is_told_in_a_line(shell: Shell) -> None:
    for words, why in WRONG:
        status, line = shell.fails(*words)
        assert status == 2
        assert why in line, (words, line)
