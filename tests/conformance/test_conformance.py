"""A sample of ONNX's backend tests on an accelerator; `make conformance` runs all of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pools import EI, environment

ROOT = Path(__file__).parents[2]
# Kind, values, cases, loaded and passed here, passed remotely, differing.
_ROW = re.compile(r"^\| all \| +\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
_WAY = re.compile(r"^\| (client|drop-in|tensors|tritonclient)[^|]*\| (\d+) \|", re.MULTILINE)


@pytest.mark.slow
def test_a_sample_of_every_kind_gives_what_onnx_runtime_gives(short_path: Path) -> None:
    command = [sys.executable, "-m", "tests.conformance", "--sample", "4"]
    done = subprocess.run(
        [*EI, "run", "--accelerator", "eia1.xlarge", "--", *command],
        cwd=ROOT,
        env=environment(short_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    as_they_are, made_older = (tuple(map(int, row)) for row in _ROW.findall(done.stdout))
    cases, loaded, passed, remotely, differing = as_they_are
    assert cases >= loaded >= passed >= 16
    assert (remotely, differing) == (passed, 0)
    assert made_older[2:] == (made_older[2], made_older[2], 0)
    ways = _WAY.findall(done.stdout)
    assert len(ways) == 8
    assert all(int(same) > 0 for _, same in ways)
