"""The bounded form of `make fuzz`: valid cases changed at random, the same each time.

The parsers and an accelerator in this process take most of them; an accelerator process, which
alone may be lost to a model file, takes some of each kind again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.fuzz.accelerator import Accelerator
from tests.fuzz.real import RealAccelerator
from tests.fuzz.registry import ON_ACCELERATOR, PARSERS, make
from tests.fuzz.target import Target

_SEED = 1
_PARSED = 1500
_EXCHANGED = 400
_REPEATED = 80


@pytest.fixture(scope="module")
def process() -> Iterator[Accelerator]:
    made = RealAccelerator()
    try:
        yield made
    finally:
        made.close()


def fuzz(target: Target, cases: int) -> None:
    """Try so many changed cases, some of them changed again."""
    chance = random.Random(f"{_SEED} {target.name}")  # noqa: S311 - to be repeated
    known = list(target.seeds)
    try:
        target.settle()
        for number in range(cases):
            case = target.mutate(chance, chance.choice(known))[: target.max_length]
            try:
                target.run(case)
            except BaseException:
                print(f"{target.name} {number}: {case!r}")  # noqa: T201 - to be repeated
                raise
            if chance.random() < 0.1:
                known.append(case)
        target.settle()
    finally:
        target.close()


@pytest.mark.parametrize("name", PARSERS)
def test_parsers(name: str) -> None:
    fuzz(make(name), _PARSED)


@pytest.mark.parametrize("name", [each.name for each in ON_ACCELERATOR.values() if not each.alone])
def test_an_accelerator_in_this_process(name: str, attacked: Accelerator) -> None:
    fuzz(make(name, attacked), _EXCHANGED)


@pytest.mark.parametrize("name", ON_ACCELERATOR)
def test_an_accelerator_process(name: str, process: Accelerator) -> None:
    fuzz(make(name, process), _REPEATED)
