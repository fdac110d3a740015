"""Tries the cases of a folder again and again, watched by nothing, and looks at the memory.

python -m tests.fuzz.leaks TARGET FOLDER

What traces a guided run takes memory of its own. Prints the most resident MiB in the first half
and in the second, and fails if the second is much larger.
"""

from __future__ import annotations

import sys
from pathlib import Path

from elastic_inference.accelerator import heap
from tests.fuzz.local import LocalAccelerator
from tests.fuzz.registry import PARSERS, make
from tests.fuzz.target import Target, resident

_MIB = 1 << 20
# What is remembered of requests grows and is forgotten within so many cases.
_CASES = 9000
_FEW = 2000
_MOST = 8 * _MIB


def main() -> int:
    """Entry point."""
    name, folder = sys.argv[1:]
    heap.configure()
    accelerator = None if name in PARSERS else LocalAccelerator()
    target = make(name, accelerator)
    cases = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    count = _FEW if target.alone else _CASES
    before, after = _most(target, cases, count), _most(target, cases, count)
    print(f"{before / _MIB:.0f} > {after / _MIB:.0f}")  # noqa: T201 - its result
    target.close()
    if accelerator is not None:
        accelerator.close()
    return int(after - before > _MOST)


def _most(target: Target, cases: list[bytes], count: int) -> int:
    """Try all cases as often as makes about `count`; the most memory after a round."""
    most = 0
    for _ in range(-(-count // len(cases))):
        for case in cases:
            target.run(case)
        target.settle()
        most = max(most, resident())
    return most


if __name__ == "__main__":
    sys.exit(main())
