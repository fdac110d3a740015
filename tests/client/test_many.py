"""More clients at one time than the accelerator has threads for."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tests.client.conftest import Reachable
from tests.client.models import scaled

MANY = 12


def test_each_gets_its_own_answers(reachable: Reachable, transport: str) -> None:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(MANY) as threads:
        attached = [stack.enter_context(reachable.connect(transport)) for _ in range(MANY)]
        models = [stack.enter_context(each.load(scaled(5))) for each in attached]

        def talk(number: int) -> None:
            for size in (1, 5000, 200_000):
                x = np.full(size, number + 1, np.float32)
                np.testing.assert_array_equal(models[number].run({"x": x})[0], x * 5)

        for _ in range(3):
            for talked in [threads.submit(talk, number) for number in range(MANY)]:
                talked.result()
