"""Counts and times in Prometheus' text format, by TensorFlow Serving's names.

https://github.com/tensorflow/serving/blob/master/tensorflow_serving/util/prometheus_exporter.cc
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator

_PREFIX = ":tensorflow:serving:"
# From 10 microseconds, each 1.8 times the one before, to about 20 minutes.
_TIMES = tuple(10 * 1.8**power for power in range(33))
_COUNTS = tuple(float(2**power) for power in range(15))
# A client chooses the name of a model that it asks for; what passes this goes under "".
_MOST_SERIES = 2000
_ESCAPED = re.compile(r'[\\"\n]')


class Metrics:
    """What a server did. Its methods may be called from many threads."""

    def __init__(self) -> None:
        self._requests = _Counter(f"{_PREFIX}request_count", ("model_name", "status"))
        self._latency = _Histogram(
            f"{_PREFIX}request_latency", ("model_name", "API", "entrypoint"), _TIMES
        )
        self._runtime = _Histogram(
            f"{_PREFIX}runtime_latency", ("model_name", "API", "runtime"), _TIMES
        )
        self._example_counts = _Histogram(f"{_PREFIX}request_example_counts", ("model",), _COUNTS)
        self._examples = _Counter(f"{_PREFIX}request_example_count_total", ("model",))
        self._batches = _Histogram(
            f"{_PREFIX}batching_session:processed_batch_size", ("model_name",), _COUNTS
        )
        self._warmups = _Histogram(
            f"{_PREFIX}model_warmup_latency", ("model_path", "status"), _TIMES
        )
        self._records = _Counter(f"{_PREFIX}model_warmup_records_read", ("model_path", "status"))
        self._loads = _Counter(
            ":tensorflow:cc:saved_model:load_attempt_count", ("model_path", "status")
        )
        self._load_times = _Counter(":tensorflow:cc:saved_model:load_latency", ("model_path",))
        self._runs = _Counter(":tensorflow:core:graph_runs", ())
        self._run_times = _Counter(":tensorflow:core:graph_run_time_usecs", ())

    def observe_request(
        self, model: str, method: str, api: str, status: str, seconds: float
    ) -> None:
        """A request ended.

        Args:
            method: as `Predict`.
            api: `GRPC` or `REST`.
            status: the name of gRPC's code; the time of other ones than `OK` is not kept.
        """
        self._requests.add((model, status))
        if status == "OK":
            self._latency.add((model, method, api), seconds * 1e6)

    def observe_runtime(self, model: str, method: str, seconds: float) -> None:
        """A model ran, its wait for a batch included."""
        self._runtime.add((model, method, "TF1"), seconds * 1e6)
        self._runs.add(())
        self._run_times.add((), round(seconds * 1e6))

    def observe_examples(self, model: str, count: int) -> None:
        """A request brought so many examples."""
        self._example_counts.add((model,), count)
        self._examples.add((model,), count)

    def observe_batch(self, model: str, rows: int) -> None:
        """A batch of so many rows ran."""
        self._batches.add((model,), rows)

    def observe_load(self, path: str, status: str, seconds: float) -> None:
        """A version's load ended: `success` or `fail`."""
        self._loads.add((path, status))
        self._load_times.add((path,), round(seconds * 1e6))

    def observe_warmup(self, path: str, status: str, records: int, seconds: float) -> None:
        """A version was warmed up."""
        self._warmups.add((path, status), seconds * 1e6)
        self._records.add((path, status), records)

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        series = (each for each in vars(self).values() if isinstance(each, _Series))
        lines = [line for each in sorted(series, key=lambda one: one.name) for line in each.lines()]
        return "\n".join(lines) + "\n"


class _Series(ABC):
    """One metric's values by its labels."""

    kind = ""

    def __init__(self, name: str, labels: tuple[str, ...]) -> None:
        self.name = name
        self._labels = labels
        self._lock = threading.Lock()

    def lines(self) -> list[str]:
        with self._lock:
            values = list(self._values())
        return [f"# TYPE {self.name} {self.kind}", *values]

    @abstractmethod
    def _values(self) -> Iterator[str]: ...

    def _text(self, values: tuple[str, ...]) -> str:
        pairs = zip(self._labels, values, strict=True)
        return ",".join(f'{label}="{_ESCAPED.sub(_escape, value)}"' for label, value in pairs)


class _Counter(_Series):
    kind = "counter"

    def __init__(self, name: str, labels: tuple[str, ...]) -> None:
        super().__init__(name, labels)
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, values: tuple[str, ...], count: int = 1) -> None:
        with self._lock:
            counts = self._counts
            if values not in counts and len(counts) >= _MOST_SERIES:
                values = ("", *values[1:])
            counts[values] = counts.get(values, 0) + count

    def _values(self) -> Iterator[str]:
        for values, count in self._counts.items():
            yield f"{self.name}{{{self._text(values)}}} {count}"


class _Histogram(_Series):
    kind = "histogram"

    def __init__(self, name: str, labels: tuple[str, ...], limits: tuple[float, ...]) -> None:
        super().__init__(name, labels)
        self._limits = limits
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, values: tuple[str, ...], value: float) -> None:
        at = bisect_left(self._limits, value)
        with self._lock:
            counts = self._counts.get(values)
            if counts is None:
                if len(self._counts) >= _MOST_SERIES:
                    values = ("", *values[1:])
                counts = self._counts.setdefault(values, [0] * (len(self._limits) + 1))
            counts[at] += 1
            self._sums[values] = self._sums.get(values, 0.0) + value

    def _values(self) -> Iterator[str]:
        for values, counts in self._counts.items():
            labels = self._text(values)
            before = f"{labels}," if labels else ""
            total = 0
            for limit, count in zip((*self._limits, None), counts, strict=True):
                total += count
                text = "+Inf" if limit is None else f"{limit:g}"
                yield f'{self.name}_bucket{{{before}le="{text}"}} {total}'
            yield f"{self.name}_sum{{{labels}}} {self._sums[values]:g}"
            yield f"{self.name}_count{{{labels}}} {total}"


def _escape(match: re.Match[str]) -> str:
    return "\\n" if match[0] == "\n" else "\\" + match[0]
