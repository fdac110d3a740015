"""The measurement on a GPU. Here a CPU stands for the card, and the tables say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import card

ROOT = Path(__file__).parent.parent.parent
BENCH = (sys.executable, "-m", "benchmarks.gpu.bench")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_stage_runs_to_its_end(tmp_path: Path) -> None:
    document = tmp_path / "gpu.md"
    done = subprocess.run(
        [*BENCH, "--device", "cpu", "--quick", "--output", str(document)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = document.read_text(encoding="utf-8")
    for shown in ("| detector | fp16 | CPUExecutionProvider |", "[51, 8, 31]", "no GPU was used"):
        assert shown in text
    assert "without MPS" in text


def test_without_a_gpu_it_says_so_and_measures_nothing() -> None:
    if card.find() is not None:
        pytest.skip("there is a GPU here")
    before = (ROOT / "docs" / "performance.md").read_bytes()
    done = subprocess.run(BENCH, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert done.stdout.startswith("Skipped: no NVIDIA GPU")
    assert (ROOT / "docs" / "performance.md").read_bytes() == before


def test_figures_of_a_cpu_never_go_into_the_page() -> None:
    done = subprocess.run(
        [*BENCH, "--device", "cpu"], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "its figures are not a GPU's" in done.stderr
