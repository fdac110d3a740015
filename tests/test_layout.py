"""What every file of the project keeps to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_SKIPPED = {".git", ".venv", "__pycache__", "build", "dist"}
_SOURCE = {".py", ".c", ".md", ".toml", ".txt", ".cnf", ""}
# Written in pieces, so that this file does not contain what it looks for.
_FORBIDDEN = {
    "the address of a package registry": re.compile(
        "|".join(("pypi" + r"\.org", "python" + "hosted", "index" + "-url", "/simple" + "/"))
    ),
    "a path of one machine": re.compile(r"(?<![\w.])/(" + "work" + "|" + "root" + r")/\w"),
    "a promise instead of code": re.compile(
        r"\b(" + "TO" + "DO|FIX" + "ME|XX" + "X)\\b|NotImplemented" + "Error"
    ),
}
_MAX_LINES = 600
_UNSAFE = re.compile(
    r"^\s*(?:import|from)\s+(?:pickle|marshal|shelve|dill)\b|\b(?:eval|exec)\(", re.MULTILINE
)


def _files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts[:-1])
        if not hidden and not _SKIPPED.intersection(parts) and path.is_file():
            yield path


def _sources() -> list[Path]:
    return [path for path in _files() if path.suffix in _SOURCE and path.name != "LICENSE"]


def test_the_walk_finds_the_project() -> None:
    names = {str(path.relative_to(ROOT)) for path in _sources()}
    assert {"Makefile", ".ci/run", "src/elastic_inference/errors.py", "README.md"} <= names


def test_no_file_is_longer_than_its_limit() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in _sources()
    }
    assert {name: lines for name, lines in lengths.items() if lines > _MAX_LINES} == {}


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_file_contains(what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _sources()
        for match in _FORBIDDEN[what].finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_package_unpickles_and_evaluates_nothing() -> None:
    package = ROOT / "src" / "elastic_inference"
    found = [
        f"{path.relative_to(ROOT)}: {match[0].strip()}"
        for path in package.rglob("*.py")
        for match in _UNSAFE.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert _UNSAFE.search("import pickle")
