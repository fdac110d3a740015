"""The documentation says what is there, and all of it."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from docs.generate import REFERENCE, render
from elastic_inference import errors
from elastic_inference.cli.parser import build_parser
from elastic_inference.settings import ClientSettings, Limits, PoolSettings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
README = ROOT / "README.md"
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command below `parser`, with its own parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()
            for name, child in action.choices.items():
                yield from ((f"{name} {below}", each) for below, each in _commands(child))


def test_the_tables_of_the_reference_are_those_of_the_code() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    assert render(text) == text, "run python docs/generate.py"


@pytest.mark.parametrize("cls", [ClientSettings, PoolSettings, Limits])
def test_every_setting_is_documented(cls: type) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    missing = [
        item.metadata["env"] for item in fields(cls) if f"`{item.metadata['env']}`" not in text
    ]
    assert missing == []


def test_every_kind_of_error_is_documented() -> None:
    text = REFERENCE.read_text(encoding="utf-8")

    def kinds(cls: type[errors.ElasticInferenceError]) -> Iterator[str]:
        for sub in cls.__subclasses__():
            yield sub.kind
            yield from kinds(sub)

    found = set(kinds(errors.ElasticInferenceError))
    assert "out-of-memory" in found
    assert {kind for kind in found if f"`{kind}`" not in text} == set()


def test_every_command_and_option_is_documented() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    commands = dict(_commands(build_parser()))
    assert {"run", "describe"} <= set(commands)
    missing = [f"ei {name}" for name in commands if f"`ei {name}" not in text]
    for name, parser in commands.items():
        for action in parser._actions:
            options = [option for option in action.option_strings if option.startswith("--")]
            if action.help != argparse.SUPPRESS:
                missing += [
                    f"ei {name} {option}"
                    for option in options
                    if option != "--help" and option not in text
                ]
    assert missing == []


def test_the_readme_names_only_commands_that_exist() -> None:
    text = README.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    used = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert {"demo", "test", "bench"} <= used
    assert used - targets == set()
    commands = dict(_commands(build_parser()))
    named = {name.strip() for name in re.findall(r"\bei ([a-z]+(?: [a-z]+)?)", text)}
    assert named
    assert [n for n in named if n not in commands and n.split()[0] not in commands] == []


def test_the_readme_s_example_runs(tmp_path: Path) -> None:
    from benchmarks.workloads import WORKLOADS

    WORKLOADS["tiny"].save(tmp_path).rename(tmp_path / "model.onnx")
    blocks = _FENCE.findall(README.read_text(encoding="utf-8"))
    example = next(code for language, code in blocks if language == "python")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("EI_")}
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environ,
    )
    assert done.returncode == 0, done.stderr
    assert "0." in done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    broken = []
    for link in _LINK.findall(_FENCE.sub("", text)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path) if path else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_tests_that_documents_name_are_there() -> None:
    named = re.compile(r"`(?:tests/)?((?:[a-z_]+/)*test_[a-z_]+\.py)(?:::(\w+))?(?:::(\w+))?`")
    found = 0
    for document in DOCUMENTS:
        for file, *names in named.findall(document.read_text(encoding="utf-8")):
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            for name in filter(None, names):
                assert re.search(rf"\b(?:class|def) {name}\b", text), f"{file}::{name}"
            found += 1
    assert found > 20
