from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    UnavailableError,
)
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.batching import Queue, Results, Scheduler
from elastic_inference.serving.batching_parameters import BatchingParameters
from tests.serving.versions import PATIENCE, until


class Doubling:
    """A model that doubles; it fails where a row is negative, and waits at its gate.

    Attributes:
        batches: the first column of each batch.
    """

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Results:
        x = inputs["x"]
        self.batches.append([np.asarray(row).flat[0] for row in x])
        assert self.gate.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        if x.dtype != object and (x < 0).any():
            raise InvalidRequestError("A row is negative.")
        results = {"y": x * 2 if x.dtype != object else x, "sum": np.asarray(1.0)}
        return {name: results[name] for name in outputs}


@contextmanager
def _batching(run: Doubling, **parameters: Any) -> Iterator[Queue]:
    scheduler = Scheduler(BatchingParameters(**{"threads": 1, **parameters}))
    try:
        yield scheduler.queue(run)
    finally:
        run.gate.set()
        scheduler.close()


class Requests:
    """Requests from threads of their own."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._threads = ThreadPoolExecutor(32)

    def send(self, *rows: float, **given: Any) -> Future[Results]:
        x = np.asarray(rows, np.float32)
        return self.send_array(x, **given)

    def send_array(
        self, x: Array, outputs: Sequence[str] = ("y",), deadline: float | None = None
    ) -> Future[Results]:
        return self._threads.submit(self._queue.predict, {"x": x}, outputs, deadline)

    def hold(self, run: Doubling) -> Future[Results]:
        """Occupy the only thread until the gate opens."""
        run.gate.clear()
        held = self.send(1000)
        until(lambda: bool(run.batches))
        return held

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()


def _waiting(queue: Queue) -> int:
    return sum(queue._rows.values())


def _sent(queue: Queue, requests: Requests, *all_rows: Sequence[float]) -> list[Future[Results]]:
    """Requests in this order."""
    futures = []
    for rows in all_rows:
        before = _waiting(queue)
        futures.append(requests.send(*rows))
        until(lambda before=before, rows=rows: _waiting(queue) == before + len(rows))  # type: ignore[misc]
    return futures


def _y(future: Future[Results]) -> Any:
    return future.result(PATIENCE)["y"].tolist()


def test_a_request_alone_runs_at_once() -> None:
    run = Doubling()
    with _batching(run) as queue:
        x = np.ones(3, np.float32)
        assert queue.predict({"x": x}, ["y"])["y"].tolist() == [2, 2, 2]
    assert run.batches == [[1, 1, 1]]


def test_what_waits_goes_together_and_each_gets_its_rows() -> None:
    run = Doubling()
    with _batching(run) as queue, Requests(queue) as requests:
        held = requests.hold(run)
        futures = _sent(queue, requests, [1], [2, 3], [4])
        run.gate.set()
        assert [_y(each) for each in (held, *futures)] == [[2000], [2], [4, 6], [8]]
    assert run.batches[1:] == [[1, 2, 3, 4]]


def test_a_batch_is_no_larger_than_it_may_be() -> None:
    run = Doubling()
    with _batching(run, most_rows=4) as queue, Requests(queue) as requests:
        requests.hold(run)
        futures = _sent(queue, requests, [1, 2, 3], [4, 5], [6])
        run.gate.set()
        assert [_y(each) for each in futures] == [[2, 4, 6], [8, 10], [12]]
        with pytest.raises(InvalidRequestError, match="Task size 5 is larger than maximum"):
            queue.predict({"x": np.ones(5, np.float32)}, ["y"])
    assert run.batches[1:] == [[1, 2, 3], [4, 5, 6]]


def test_large_requests_are_split() -> None:
    run = Doubling()
    with (
        _batching(run, most_rows=10, most_executed=4, splits=True) as queue,
        Requests(queue) as requests,
    ):
        requests.hold(run)
        futures = _sent(queue, requests, [1, 2, 3], [4, 5, 6, 7, 8, 9])
        run.gate.set()
        assert [_y(each) for each in futures] == [[2, 4, 6], [8, 10, 12, 14, 16, 18]]
    assert run.batches[1:] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_a_piece_that_fails_fails_its_request_only() -> None:
    run = Doubling()
    with (
        _batching(run, most_rows=10, most_executed=2, splits=True) as queue,
        Requests(queue) as requests,
    ):
        requests.hold(run)
        bad, good = _sent(queue, requests, [-1, 2, 3, 4], [5])
        run.gate.set()
        with pytest.raises(InvalidRequestError, match="A row is negative"):
            bad.result(PATIENCE)
        assert _y(good) == [10]


def test_the_timeout_waits_for_others_and_a_full_batch_does_not() -> None:
    run = Doubling()
    with _batching(run, most_rows=2, timeout=PATIENCE) as queue, Requests(queue) as requests:
        futures = [requests.send(1), requests.send(2)]
        assert sorted(_y(each)[0] for each in futures) == [2, 4]
    assert len(run.batches) == 1


def test_the_timeout_passes() -> None:
    run = Doubling()
    with _batching(run, timeout=0.01) as queue:
        assert queue.predict({"x": np.ones(1, np.float32)}, ["y"])["y"].tolist() == [2]


def test_a_full_queue_refuses() -> None:
    run = Doubling()
    with (
        _batching(run, most_rows=2, most_batches=2) as queue,
        Requests(queue) as requests,
    ):
        requests.hold(run)
        futures = _sent(queue, requests, [1, 2], [3, 4])
        with pytest.raises(UnavailableError, match="to which this task was submitted is full"):
            queue.predict({"x": np.ones(1, np.float32)}, ["y"])
        run.gate.set()
        assert [_y(each) for each in futures] == [[2, 4], [6, 8]]


def test_batches_are_padded_with_the_last_requests_first_row() -> None:
    run = Doubling()
    with (
        _batching(run, most_rows=8, sizes=(2, 4, 8)) as queue,
        Requests(queue) as requests,
    ):
        requests.hold(run)
        futures = _sent(queue, requests, [1], [2, 3, 4, 5])
        run.gate.set()
        assert [_y(each) for each in futures] == [[2], [4, 6, 8, 10]]
    assert run.batches == [[1000, 1000], [1, 2, 3, 4, 5, 2, 2, 2]]


def test_only_rows_of_one_shape_and_type_share_a_batch() -> None:
    run = Doubling()
    with _batching(run) as queue, Requests(queue) as requests:
        requests.hold(run)
        arrays: list[Array] = [
            np.ones((1, 2), np.float32),
            np.ones((1, 3), np.float32),
            np.ones((1, 2), np.float64),
            np.ones((2, 2), np.float32),
        ]
        futures = [requests.send_array(array) for array in arrays]
        until(lambda: _waiting(queue) == 5)
        run.gate.set()
        for array, future in zip(arrays, futures, strict=True):
            y = future.result(PATIENCE)["y"]
            assert (y.shape, y.dtype) == (array.shape, array.dtype)
    assert sorted(map(len, run.batches[1:])) == [1, 1, 3]


def test_rows_are_padded_to_the_largest_where_that_is_wanted() -> None:
    run = Doubling()
    with _batching(run, pads=True) as queue, Requests(queue) as requests:
        requests.hold(run)
        arrays: list[Array] = [
            np.asarray([[5, 6]], np.float32),
            np.asarray([[7, 8, 9]], np.float32),
        ]
        futures = []
        for count, array in enumerate(arrays, 1):
            futures.append(requests.send_array(array))
            until(lambda count=count: _waiting(queue) == count)  # type: ignore[misc]
        run.gate.set()
        assert [_y(each) for each in futures] == [[[10, 12, 10]], [[14, 16, 18]]]


def test_strings_are_padded_too() -> None:
    run = Doubling()
    with _batching(run, pads=True) as queue, Requests(queue) as requests:
        requests.hold(run)
        words = np.asarray([[b"a"]], object)
        more = np.asarray([[b"b", b"c"]], object)
        futures = [requests.send_array(words), requests.send_array(more)]
        until(lambda: _waiting(queue) == 2)
        run.gate.set()
        assert [_y(each) for each in futures] == [[[b"a", b"a"]], [[b"b", b"c"]]]


def test_other_outputs_are_another_batch() -> None:
    run = Doubling()
    with _batching(run) as queue, Requests(queue) as requests:
        requests.hold(run)
        futures = [requests.send(1), requests.send(2, outputs=("y", "sum"))]
        until(lambda: _waiting(queue) == 2)
        run.gate.set()
        assert set(futures[0].result(PATIENCE)) == {"y"}
        assert set(futures[1].result(PATIENCE)) == {"y", "sum"}


def test_an_output_without_rows_makes_requests_run_singly() -> None:
    run = Doubling()
    with _batching(run) as queue, Requests(queue) as requests:
        requests.hold(run)
        futures = [requests.send(value, outputs=("y", "sum")) for value in (1, 2)]
        until(lambda: _waiting(queue) == 2)
        run.gate.set()
        assert [each.result(PATIENCE)["y"].tolist() for each in futures] == [[2], [4]]


def test_one_bad_request_does_not_fail_the_others() -> None:
    run = Doubling()
    with _batching(run) as queue, Requests(queue) as requests:
        requests.hold(run)
        futures = _sent(queue, requests, [1], [-2], [3])
        run.gate.set()
        assert _y(futures[0]) == [2]
        with pytest.raises(InvalidRequestError, match="A row is negative"):
            futures[1].result(PATIENCE)
        assert _y(futures[2]) == [6]


def test_a_lost_accelerator_is_not_asked_again_for_each_request() -> None:
    run = Doubling()
    with _batching(run) as queue, Requests(queue) as requests:
        requests.hold(run)
        futures = _sent(queue, requests, [1], [2])
        run.error = UnavailableError("lost")
        run.gate.set()
        for future in futures:
            with pytest.raises(UnavailableError, match="lost"):
                future.result(PATIENCE)
    assert len(run.batches) == 2


def test_defects_come_through() -> None:
    run = Doubling()
    run.error = InternalError("broken")
    with _batching(run) as queue, pytest.raises(InternalError, match="broken"):
        queue.predict({"x": np.ones(1, np.float32)}, ["y"])


def test_a_request_that_waits_too_long_is_let_go() -> None:
    run = Doubling()
    with _batching(run) as queue, Requests(queue) as requests:
        requests.hold(run)
        future = requests.send(1, deadline=time.monotonic() + 0.01)
        with pytest.raises(DeadlineExceededError, match="timeout exceeded while waiting"):
            future.result(PATIENCE)
        assert _waiting(queue) == 0
        other = requests.send(2)
        until(lambda: _waiting(queue) == 1)
        run.gate.set()
        assert _y(other) == [4]
    assert run.batches[1:] == [[2]]


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"x": np.float32(1)}, "must have at least one dimension"),
        ({"x": np.ones(1), "z": np.ones(2)}, "must have equal 0th-dimension size"),
    ],
)
def test_inputs_that_have_no_rows(inputs: Mapping[str, Any], why: str) -> None:
    given = {key: np.asarray(value) for key, value in inputs.items()}
    with _batching(Doubling()) as queue, pytest.raises(InvalidRequestError, match=why):
        queue.predict(given, ["y"])


def test_no_rows_at_all_run_by_themselves() -> None:
    with _batching(Doubling()) as queue:
        assert queue.predict({"x": np.ones((0, 2), np.float32)}, ["y"])["y"].shape == (0, 2)


def test_the_end_refuses_what_waits() -> None:
    run = Doubling()
    scheduler = Scheduler(BatchingParameters(threads=1, timeout=PATIENCE))
    queue = scheduler.queue(run)
    with Requests(queue) as requests:
        future = requests.send(1)
        until(lambda: _waiting(queue) == 1)
        scheduler.close()
        with pytest.raises(UnavailableError, match="being stopped"):
            future.result(PATIENCE)
        with pytest.raises(UnavailableError, match="is closed"):
            queue.predict({"x": np.ones(1, np.float32)}, ["y"])


def test_queues_do_not_wait_for_each_other() -> None:
    slow, fast = Doubling(), Doubling()
    scheduler = Scheduler(BatchingParameters(threads=2))
    first, second = scheduler.queue(slow), scheduler.queue(fast)
    with Requests(first) as requests:
        held = requests.hold(slow)
        assert second.predict({"x": np.ones(1, np.float32)}, ["y"])["y"].tolist() == [2]
        slow.gate.set()
        held.result(PATIENCE)
    second.close()
    with pytest.raises(UnavailableError):
        second.predict({"x": np.ones(1, np.float32)}, ["y"])
    scheduler.close()


@settings(max_examples=25, deadline=None)
@given(
    requests=st.lists(st.lists(st.integers(-3, 100), min_size=1, max_size=7), max_size=12),
    most=st.integers(7, 9),
    splits=st.booleans(),
    threads=st.integers(1, 3),
)
def test_whatever_comes_each_gets_its_own(
    requests: list[list[int]], most: int, splits: bool, threads: int
) -> None:
    run = Doubling()
    parameters: dict[str, Any] = {"most_rows": most, "most_batches": 100, "threads": threads}
    if splits:
        parameters |= {"splits": True, "most_executed": 3, "sizes": (2, 3)}
    with _batching(run, **parameters) as queue, Requests(queue) as senders:
        futures = [senders.send(*rows) for rows in requests]
        for rows, future in zip(requests, futures, strict=True):
            if min(rows) < 0:
                with pytest.raises(InvalidRequestError, match="A row is negative"):
                    future.result(PATIENCE)
            else:
                assert _y(future) == [2 * value for value in rows]
    assert all(len(batch) <= (3 if splits else most) for batch in run.batches)
