"""Puts requests together into batches, by TensorFlow Serving's parameters.

One scheduler's threads run the batches of all its queues; a queue is a signature's. Requests
share a batch only if they ask for the same outputs and their rows have the same shapes.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from elastic_inference.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    UnavailableError,
)
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.batching_parameters import BatchingParameters

_EXPIRED = "Run() timeout exceeded while waiting in batching queue"

Results: TypeAlias = dict[str, Array]
Run: TypeAlias = Callable[[Mapping[str, Array], Sequence[str]], Results]


@dataclass(eq=False, slots=True)
class _Task:
    """A request that waits.

    Attributes:
        taken: rows that went into batches.
        pieces: results of these, in their order; None while they are being made.
        since: when it came.
    """

    inputs: Mapping[str, Array]
    outputs: Sequence[str]
    rows: int
    since: float
    deadline: float | None
    taken: int = 0
    pieces: list[Results | None] = field(default_factory=list)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of a request in one batch; `piece` is where their results go."""

    task: _Task
    start: int
    stop: int
    piece: int

    def inputs(self) -> Mapping[str, Array]:
        if self.start == 0 and self.stop == self.task.rows:
            return self.task.inputs
        return {key: array[self.start : self.stop] for key, array in self.task.inputs.items()}


class Scheduler:
    """Threads that run batches. Its queues may be used from many threads."""

    def __init__(
        self, parameters: BatchingParameters, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.parameters = parameters
        self._clock = clock
        self._changed = threading.Condition()
        self._queues: list[Queue] = []
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(parameters.threads)
        ]
        for thread in self._threads:
            thread.start()

    def queue(self, run: Run, parameters: BatchingParameters | None = None) -> Queue:
        """A queue of its own for what `run` runs.

        Args:
            parameters: the scheduler's if None.
        """
        queue = Queue(self, run, parameters or self.parameters)
        with self._changed:
            self._queues.append(queue)
        return queue

    def close(self) -> None:
        """Refuse what waits, and end."""
        with self._changed:
            self._is_closed = True
            for queue in self._queues:
                queue.refuse_all()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    # What queues ask; all with the lock held but `submit` and `forget`.

    def submit(self, queue: Queue, key: Any, task: _Task) -> None:
        with self._changed:
            if self._is_closed or queue.is_closed:
                raise UnavailableError("The batch scheduling queue is closed.")
            queue.add(key, task)
            self._changed.notify()

    def forget(self, queue: Queue) -> None:
        with self._changed:
            queue.is_closed = True
            queue.refuse_all()
            if queue in self._queues:
                self._queues.remove(queue)

    def leave(self, queue: Queue, key: Any, task: _Task) -> None:
        with self._changed:
            queue.drop(key, task)

    def now(self) -> float:
        return self._clock()

    def _work(self) -> None:
        while True:
            with self._changed:
                taken = self._take()
                if taken is None:
                    return
                if any(queue.is_waiting for queue in self._queues):
                    self._changed.notify()
            queue, batch = taken
            queue.run(batch)

    def _take(self) -> tuple[Queue, list[_Part]] | None:
        """The next batch, when it is due; None at the end."""
        while not self._is_closed:
            queue, pause = self._next()
            if queue is None:
                self._changed.wait(pause)
            elif batch := queue.take(self._clock()):
                return queue, batch
        return None

    def _next(self) -> tuple[Queue | None, float | None]:
        """The queue whose batch is due the longest, or how long none is."""
        now = self._clock()
        due = [(queue.due(now), queue) for queue in self._queues if queue.is_waiting]
        if not due:
            return None, None
        earliest, queue = min(due, key=lambda pair: pair[0])
        return (queue, 0.0) if earliest <= now else (None, earliest - now)


class Queue:
    """Requests for one signature."""

    def __init__(self, scheduler: Scheduler, run: Run, parameters: BatchingParameters) -> None:
        self._scheduler = scheduler
        self._run = run
        self._parameters = parameters
        self._tasks: OrderedDict[Any, deque[_Task]] = OrderedDict()
        self._rows: dict[Any, int] = {}
        self.is_closed = False

    def predict(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], deadline: float | None = None
    ) -> Results:
        """The results for `inputs`, made in a batch with those of other requests.

        Raises:
            InvalidRequestError: the inputs do not have the same number of rows, or too many.
            UnavailableError: too many requests wait.
            DeadlineExceededError: the batch did not run in time.
            ElasticInferenceError: what the run raises.
        """
        rows = self._count(inputs)
        if rows == 0:
            return self._run(inputs, outputs)
        now = self._scheduler.now()
        task = _Task(inputs, tuple(outputs), rows, now, deadline)
        key = self._key(inputs, tuple(outputs))
        self._scheduler.submit(self, key, task)
        pause = None if deadline is None else max(deadline - now, 0.0)
        if not task.done.wait(pause):
            self._scheduler.leave(self, key, task)
            if not task.done.is_set():
                raise DeadlineExceededError(_EXPIRED)
        if task.error is not None:
            raise task.error
        pieces = [piece for piece in task.pieces if piece is not None]
        if len(pieces) == 1:
            return pieces[0]
        return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}

    def close(self) -> None:
        """Refuse what waits and what comes."""
        self._scheduler.forget(self)

    def _count(self, inputs: Mapping[str, Array]) -> int:
        sizes = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
        if -1 in sizes:
            raise InvalidRequestError(
                "Batching Run() input tensors must have at least one dimension."
            )
        if len(sizes) != 1:
            raise InvalidRequestError(
                "Batching Run() input tensors must have equal 0th-dimension size."
            )
        rows = sizes.pop()
        if rows > self._parameters.most_rows and not self._parameters.splits:
            raise InvalidRequestError(
                f"Task size {rows} is larger than maximum input batch size "
                f"{self._parameters.most_rows}",
                next_step="Send fewer rows, or set enable_large_batch_splitting.",
            )
        return rows

    def _key(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> Any:
        """What requests have in common that may share a batch."""
        if self._parameters.pads:
            shapes = tuple((key, array.dtype, array.ndim) for key, array in sorted(inputs.items()))
            return outputs, shapes
        return outputs, tuple(
            (key, array.dtype, array.shape[1:]) for key, array in sorted(inputs.items())
        )

    # All of these are called with the scheduler's lock held.

    @property
    def is_waiting(self) -> bool:
        return bool(self._tasks)

    def add(self, key: Any, task: _Task) -> None:
        largest = self._parameters.batch_rows
        # As many batches may wait, and one that is being filled.
        room = (self._parameters.most_batches or 1) * largest
        waiting = sum(self._rows.values())
        if waiting and waiting + task.rows > room:
            raise UnavailableError(
                "The batch scheduling queue to which this task was submitted is full",
                next_step="Try again, or raise max_enqueued_batches.",
            )
        self._tasks.setdefault(key, deque()).append(task)
        self._rows[key] = self._rows.get(key, 0) + task.rows

    def drop(self, key: Any, task: _Task) -> None:
        """Take a request out that nobody waits for any more, unless it is in a batch."""
        tasks = self._tasks.get(key)
        if tasks is not None and task in tasks:
            tasks.remove(task)
            self._count_off(key, task.rows - task.taken)

    def refuse_all(self) -> None:
        for tasks in self._tasks.values():
            for task in tasks:
                task.error = UnavailableError("The server is being stopped.")
                task.done.set()
        self._tasks.clear()
        self._rows.clear()

    def due(self, now: float) -> float:
        """When the next batch is to run."""
        largest = self._parameters.batch_rows
        return min(
            now if self._rows[key] >= largest else tasks[0].since + self._parameters.timeout
            for key, tasks in self._tasks.items()
        )

    def take(self, now: float) -> list[_Part]:
        """The parts of the next batch; none if nobody waits for them any more."""
        largest = self._parameters.batch_rows
        timeout = self._parameters.timeout
        key = min(
            self._tasks,
            key=lambda each: (
                self._rows[each] < largest and self._tasks[each][0].since + timeout > now,
                self._tasks[each][0].since,
            ),
        )
        tasks = self._tasks[key]
        parts: list[_Part] = []
        room = largest
        while tasks and room:
            task = tasks[0]
            left = task.rows - task.taken
            if task.error is not None or (task.deadline is not None and task.deadline <= now):
                self._expire(tasks, key)
                continue
            if left > room and not self._parameters.splits:
                break
            count = min(left, room)
            parts.append(_Part(task, task.taken, task.taken + count, len(task.pieces)))
            task.pieces.append(None)
            task.taken += count
            room -= count
            if task.taken == task.rows:
                tasks.popleft()
            self._count_off(key, count)
        return parts

    def _expire(self, tasks: deque[_Task], key: Any) -> None:
        task = tasks.popleft()
        task.error = task.error or DeadlineExceededError(_EXPIRED)
        task.done.set()
        self._count_off(key, task.rows - task.taken)

    def _count_off(self, key: Any, rows: int) -> None:
        self._rows[key] -= rows
        if not self._tasks[key]:
            del self._tasks[key], self._rows[key]

    # Without the lock.

    def run(self, batch: list[_Part]) -> None:
        """Run a batch, and give each request its results or its error."""
        try:
            for part, results in zip(batch, self._results(batch), strict=True):
                part.task.pieces[part.piece] = results
        except UnavailableError as error:
            for part in batch:
                part.task.error = error
        except Exception as error:  # noqa: BLE001 - it is the requests' own
            if len(batch) == 1:
                batch[0].task.error = error
            else:
                self._run_singly(batch)
        for part in batch:
            task = part.task
            if task.error is not None or (task.taken == task.rows and None not in task.pieces):
                task.done.set()

    def _run_singly(self, batch: list[_Part]) -> None:
        """One bad request must not fail those that came with it."""
        for part in batch:
            try:
                part.task.pieces[part.piece] = self._results([part])[0]
            except Exception as error:  # noqa: BLE001 - it is the request's own
                part.task.error = error

    def _results(self, batch: list[_Part]) -> list[Results]:
        sizes = [part.stop - part.start for part in batch]
        total = sum(sizes)
        padded = self._parameters.padded(total)
        outputs = batch[0].task.outputs
        if len(batch) == 1 and padded == total:
            return [self._run(batch[0].inputs(), outputs)]
        results = self._run(self._merged(batch, padded - total), outputs)
        for key, array in results.items():
            if array.ndim == 0 or array.shape[0] != padded:
                raise InvalidRequestError(
                    f"The output {key!r} has no row for each row of the inputs, so that requests "
                    "cannot be put together.",
                    next_step="Serve this model without --enable_batching.",
                )
        split = []
        start = 0
        for size in sizes:
            split.append({key: array[start : start + size] for key, array in results.items()})
            start += size
        return split

    def _merged(self, batch: list[_Part], padding: int) -> Mapping[str, Array]:
        parts = [part.inputs() for part in batch]
        merged = {}
        for key in parts[0]:
            arrays = [part[key] for part in parts]
            if self._parameters.pads:
                arrays = _padded(arrays)
            if padding:
                arrays.append(np.repeat(arrays[-1][:1], padding, axis=0))
            merged[key] = np.concatenate(arrays)
        return merged


def _padded(arrays: list[Array]) -> list[Array]:
    """All in the shape of the largest; filled up with their own first element."""
    shape = tuple(max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True))
    padded = []
    for array in arrays:
        if array.shape[1:] == shape:
            padded.append(array)
            continue
        filler: Any = array.flat[0] if array.size else (b"" if array.dtype == object else 0)
        full = np.full((array.shape[0], *shape), filler, array.dtype)
        full[tuple(slice(size) for size in array.shape)] = array
        padded.append(full)
    return padded
