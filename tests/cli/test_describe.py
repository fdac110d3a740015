"""`ei` without a pool: descriptions, help and errors."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference import __version__
from elastic_inference.cli.main import parse
from elastic_inference.cli.output import table
from elastic_inference.cli.parser import build_parser
from tests.pools import EI, ei, environment

COMMANDS = ("run", "up", "describe", "token", "launch", "exec", "terminate", "bill", "validate")


def test_where_no_pool_runs_there_is_nothing_and_no_error(tmp_path: Path) -> None:
    for what in ("accelerators", "instances"):
        done = ei(tmp_path, "describe", what)
        assert (done.returncode, done.stderr) == (0, "ei: no pool runs; ei up starts one.\n")
        assert len(done.stdout.splitlines()) == 1
        done = ei(tmp_path, "describe", what, "-o", "json")
        assert json.loads(done.stdout) == {what: []}


def test_a_pool_that_does_not_answer_is_told_from_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    pointer = {"endpoint": f"https://127.0.0.1:{port}", "server_name": "x", "ca": "",
               "access_key_id": "a", "secret_access_key": "b"}  # fmt: skip
    (tmp_path / "current.json").write_text(json.dumps(pointer))
    for words, status in ((("describe", "accelerators"), 0), (("token", "eia-0"), 1)):
        done = ei(tmp_path, *words)
        assert f"No pool answers at https://127.0.0.1:{port}" in done.stderr
        assert done.returncode == status


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*EI, "describe", "types"],
        env=environment(tmp_path),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_types_are_described_without_a_pool(tmp_path: Path) -> None:
    catalog = tmp_path / "types.toml"
    catalog.write_text('[types."own.small"]\nmemory_mib = 512\ntflops_fp32 = 1\ntflops_fp16 = 1\n')
    done = ei(tmp_path, "describe", "types", env={"EI_CATALOG": str(catalog)})
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] == "TYPE"
    assert lines[1].split() == ["eia1.medium", "1024", "1", "8", "0.13", "eia.medium"]
    assert lines[-1].split() == ["own.small", "512", "1", "1", "0.00", "-"]
    rows = json.loads(ei(tmp_path, "describe", "types", "-o", "json").stdout)["acceleratorTypes"]
    assert rows[0]["acceleratorTypeName"] == "eia1.medium"


@pytest.mark.parametrize("words", [("token",), ("token", "eia-0"), ("terminate", "i-0")])
def test_what_needs_a_pool_says_so(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = ei(tmp_path, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Start one with ei up" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [(), ("nothing",), ("describe",), ("describe", "x"), ("token", "a", "b"),
              ("up", "--", "x"), ("describe", "types", "-o", "xml")]
)  # fmt: skip
def test_wrong_usage_ends_with_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = ei(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ei")


def test_a_broken_catalogue_is_named(tmp_path: Path) -> None:
    done = ei(tmp_path, "describe", "types", env={"EI_CATALOG": "/no/such.toml"})
    assert done.returncode == 1
    assert "/no/such.toml" in done.stderr


def test_help_and_version(tmp_path: Path) -> None:
    assert ei(tmp_path, "--version").stdout == f"ei {__version__}\n"
    overview = ei(tmp_path, "--help").stdout
    for command in COMMANDS:
        assert f"\n    {command}" in overview
        help_ = ei(tmp_path, command, "--help")
        assert help_.returncode == 0
        assert f"ei {command}" in help_.stdout.partition("examples:")[2]


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    done = ei(tmp_path / "home", "up")
    assert done.returncode == 1
    assert str(tmp_path / "home") in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("up",), ("run", "--accelerator", "eia1.medium", "--", "true")])
def test_what_a_pool_needs_is_named_where_it_is_missing(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    # As in an environment with the application's side alone.
    (tmp_path / "cryptography.py").write_text(
        "raise ModuleNotFoundError('No module named cryptography', name='cryptography')"
    )
    done = ei(tmp_path / "home", *words, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "cryptography" in done.stderr
    assert "elastic-inference[node]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield child
                yield from _commands(child)


def test_the_help_of_every_command_has_examples_of_it() -> None:
    found = list(_commands(build_parser()))
    assert len(found) > 50
    for parser in found:
        # Those of a group may stand for its commands.
        words = parser.prog.split()[:2]
        assert " ".join(words) in parser.format_help().partition("examples:")[2], parser.prog


def test_every_example_is_understood() -> None:
    count = 0
    for parser in _commands(build_parser()):
        for line in parser.format_help().partition("examples:")[2].splitlines():
            command = re.match(r"  ei (.*?)(?:   .*)?$", line)
            if command and not re.search(r"[&|<>\\]", command[1]):
                parse(shlex.split(command[1]))
                count += 1
    assert count > 100


def test_a_table_has_one_line_for_each_row() -> None:
    shown = table(("NAME",), [("a\r\nb\x1b[2Jc",), ("d",)])
    assert shown.splitlines() == ["NAME", "a\ufffd\ufffdb\ufffd[2Jc", "d"]
