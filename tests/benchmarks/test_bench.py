"""The benchmark measures every section; what it measures is not asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import build_floor
from benchmarks.report import Table, cell, verdict, write

ROOT = Path(__file__).parent.parent.parent
_SECTIONS = (
    *("latency", "shared", "attach", "memory", "startup", "control", "metrics", "server"),
    "mxnet",
)
_NEEDS_FLOOR = ("latency", "attach")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("section", _SECTIONS)
def test_a_section_is_measured_and_written(section: str, tmp_path: Path) -> None:
    if section in _NEEDS_FLOOR and build_floor(tmp_path) is None:
        pytest.skip("the floor needs gcc and libssl-dev")
    document, figures = tmp_path / "performance.md", tmp_path / "figures.json"
    shutil.copy(ROOT / "docs" / "performance.md", document)
    subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.bench", "--quick", "--only", section),
            *("--output", str(document), "--json", str(figures)),
        ],
        cwd=ROOT,
        check=True,
        timeout=280,
    )
    tables = json.loads(figures.read_text(encoding="utf-8"))["sections"][section]
    assert tables
    for table in tables:
        assert table["rows"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        assert table["title"] in document.read_text(encoding="utf-8")


def test_a_bar_is_reached_or_missed() -> None:
    assert verdict(1.25, 1.25) == "1.25: reached"
    assert verdict(1.26, 1.25) == "1.25: missed"
    assert verdict(9.0, None) == "-"


def test_cells_are_short() -> None:
    assert [cell(value) for value in (None, 12345.6, 1.2345, "x", 8)] == [
        *("-", "12,346", "1.23", "x", "8")
    ]


def test_one_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    document = tmp_path / "figures.md"
    document.write_text(
        "<!-- begin a -->\nold\n<!-- end a -->\nkept\n<!-- begin b -->\nolder\n<!-- end b -->\n"
    )
    table = Table("Title", ("x",), [(1.0,)])
    write(document, {"cores": 2}, {"a": [table]})
    write(document, {"cores": 2}, {"a": [table]})
    text = document.read_text()
    assert "old\n" not in text
    assert text.count("**Title**") == 1
    assert "kept\n<!-- begin b -->\nolder\n" in text
    assert "cores 2" in text
