"""Compares the translator with real MXNet, and writes the fixtures of the tests.

make oracle
.oracle/bin/python -m tests.oracle --only resnet18_v1,bert --keep
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator

from tests.frameworks.mxnet.translate import fixtures, grids
from tests.oracle import graphs, operators, zoo
from tests.oracle.model import Model, compare

_TOLERANCE = 1e-4


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    parser.add_argument("--only", default="", help="names of models, or `grids`")
    parser.add_argument("--keep", action="store_true", help="leave the fixtures as they are")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    wrong: list[str] = []
    if not only or "grids" in only:
        found, wrong = operators.compare(grids.cases())
        if not options.keep and not wrong:
            fixtures.write_grids(found)
    for model in _models(lambda name: not only or name in only):
        wrong += _try(model, write=not options.keep)
    for line in wrong:
        _say(line)
    return bool(wrong)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _models(wanted: Callable[[str], bool]) -> Iterator[Model]:
    yield from (model for model in graphs.models() if wanted(model.name))
    yield from zoo.models(wanted)
    yield from zoo.gluoncv_models(wanted)


def _try(model: Model, *, write: bool) -> list[str]:
    began = time.perf_counter()
    try:
        found = compare(model)
    except Exception as error:  # noqa: BLE001 - all of them are told at the end
        _say(f"{model.name:36} failed")
        return [f"{model.name}: {type(error).__name__} {str(error)[-300:]}"]
    _say(
        f"{model.name:36} error {found.error:.1e}  segments {found.segments}  "
        f"translated in {found.seconds:.2f} s, all in {time.perf_counter() - began:.1f} s"
    )
    if not found.error <= _TOLERANCE:
        return [f"{model.name}: the error {found.error:.1e} is above {_TOLERANCE}"]
    if write and model.small:
        fixtures.write_model(
            model.name, model.symbol.tojson(), model.gain, model.inputs, found.expected
        )
    return []


if __name__ == "__main__":
    raise SystemExit(main())
