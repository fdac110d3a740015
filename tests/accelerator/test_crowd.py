"""More connections than have threads of their own: they are served together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from elastic_inference.settings import Limits
from tests.accelerator.http_client import Wire, X, infer, infer_body, load, read_output, scale_model
from tests.client.models import slow
from tests.faults.conftest import until
from tests.faults.test_models import send_infer, wait_until_it_computes
from tests.processes import AcceleratorProcess

MANY = 12
Start = Callable[..., AcceleratorProcess]


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "double", scale_model(2))
    load(accelerator, "triple", scale_model(3))
    return accelerator


@contextlib.contextmanager
def crowd(
    process: AcceleratorProcess, count: int = MANY, *, unix: bool = False
) -> Iterator[list[Wire]]:
    """Connections that have each been served, so that those beyond the first are together."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(process, unix=unix)) for _ in range(count)]
        for _ in range(2):
            for wire in wires:
                assert wire.request("GET", "/v2")[0] == 200
        yield wires


def threads_of(process: AcceleratorProcess) -> int:
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_each_gets_its_own_answers(served: AcceleratorProcess, unix: bool) -> None:
    with crowd(served, unix=unix) as wires, ThreadPoolExecutor(MANY) as threads:

        def talk(number: int) -> None:
            model, factor = (("double", 2), ("triple", 3))[number % 2]
            for turn in range(30):
                x = X + number * 1000 + turn
                answer = infer(wires[number], model, x, token=None)
                assert np.array_equal(answer, x * factor)

        for talked in [threads.submit(talk, number) for number in range(MANY)]:
            talked.result()


def test_they_need_few_threads(served: AcceleratorProcess) -> None:
    before = threads_of(served)
    with crowd(served, 60):
        until("threads went", lambda: threads_of(served) - before < 20)


def test_requests_that_come_together_are_answered_in_order(served: AcceleratorProcess) -> None:
    with crowd(served) as wires:
        for wire in wires:
            requests = []
            for number in range(5):
                body, length = infer_body(X + number)
                head = (
                    "POST /v2/models/double/infer HTTP/1.1\r\n"
                    f"Content-Length: {len(body)}\r\n"
                    f"Inference-Header-Content-Length: {length}\r\n\r\n"
                )
                requests.append(head.encode() + body)
            wire.send(b"".join(requests))
        for wire in wires:
            for number in range(5):
                status, headers, body = wire.answer()
                assert status == 200
                assert np.array_equal(read_output(headers, body), (X + number) * 2)


def test_who_stops_amid_a_request_holds_nobody_up(served: AcceleratorProcess) -> None:
    body, length = infer_body(X)
    head = (
        "POST /v2/models/double/infer HTTP/1.1\r\n"
        f"Content-Length: {len(body)}\r\nInference-Header-Content-Length: {length}\r\n\r\n"
    )
    raw = head.encode() + body
    with crowd(served) as wires:
        *stopped, last = wires
        for at, wire in enumerate(stopped):
            wire.send(raw[: 1 + at * len(raw) // len(wires)])
        for _ in range(5):
            assert infer(last, "triple", token=None).tolist() == (X * 3).tolist()
        for at, wire in enumerate(stopped):
            wire.send(raw[1 + at * len(raw) // len(wires) :])
            status, headers, answer = wire.answer()
            assert status == 200
            assert np.array_equal(read_output(headers, answer), X * 2)
        for wire in wires:
            assert infer(wire, "triple", token=None).tolist() == (X * 3).tolist()


def test_long_calls_hold_nobody_up(start_accelerator: Start) -> None:
    process = start_accelerator()
    load(process, "double", scale_model(2))
    load(process, "slow", slow(20_000))
    with crowd(process) as wires:
        for wire in wires[:4]:
            send_infer(wire, "slow", np.random.default_rng(1).random((120, 120), np.float32))
        wait_until_it_computes(process)
        for _ in range(3):
            for wire in wires[4:]:
                assert infer(wire, "double", token=None).tolist() == (X * 2).tolist()
        for wire in wires[:4]:
            assert wire.answer()[0] == 200


def test_who_goes_makes_room(start_accelerator: Start) -> None:
    process = start_accelerator(limits=Limits(max_connections=MANY))
    for _ in range(4):
        until("the connections are forgotten", lambda: is_room(process, MANY - 1))


def is_room(process: AcceleratorProcess, count: int) -> bool:
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(process)) for _ in range(count)]
        return all(wire.request("GET", "/v2")[0] == 200 for _ in range(2) for wire in wires)


def test_who_is_silent_for_too_long_is_cut(start_accelerator: Start) -> None:
    process = start_accelerator(limits=Limits(idle_timeout=1.0))
    with crowd(process) as wires:
        for wire in wires:
            assert wire.closed()


def test_an_accelerator_with_a_crowd_ends(start_accelerator: Start) -> None:
    process = start_accelerator()
    with crowd(process) as wires:
        assert process.terminate() == 0
        for wire in wires:
            assert wire.closed()
