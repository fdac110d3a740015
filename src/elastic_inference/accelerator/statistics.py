"""Counters of what an accelerator did.

Each connection counts into its own `Counter`s, so that the hot path takes no lock; a
reader adds them up. What a closed connection counted is kept in the total of its model.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, fields


@dataclass(slots=True)
class Counter:
    """What happened with one model. Times in seconds, sizes in bytes."""

    requests: int = 0
    failures: int = 0
    receive: float = 0.0
    compute: float = 0.0
    send: float = 0.0
    failure_time: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    last: float = 0.0

    def count(
        self, receive: float, compute: float, computed: float, bytes_in: int, bytes_out: int
    ) -> None:
        """Count an inference that was answered just now; `computed` is a monotonic time."""
        self.requests += 1
        self.receive += receive
        self.compute += compute
        self.send += time.monotonic() - computed
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.last = time.time()

    def add(self, other: Counter) -> None:
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last = max(self.last, other.last)


_SUMMED = tuple(item.name for item in fields(Counter) if item.name != "last")


class Statistics:
    """All counters of one accelerator process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, Counter] = {}
        self._live: list[tuple[str, Counter]] = []
        self._client_calls = 0
        self._client_wall_ns = 0
        self.started = time.time()

    def open(self, model: str) -> Counter:
        """A counter that one connection alone writes."""
        counter = Counter()
        with self._lock:
            self._live.append((model, counter))
        return counter

    def close(self, counters: dict[str, Counter]) -> None:
        """Keep what a closed connection counted."""
        with self._lock:
            closed = {id(counter) for counter in counters.values()}
            self._live = [item for item in self._live if id(item[1]) not in closed]
            for model, counter in counters.items():
                self._totals.setdefault(model, Counter()).add(counter)

    def by_model(self) -> dict[str, Counter]:
        """The sums so far, by model name."""
        with self._lock:
            sums: dict[str, Counter] = {}
            for model, counter in (*self._totals.items(), *self._live):
                sums.setdefault(model, Counter()).add(counter)
            return sums

    def total(self) -> Counter:
        total = Counter()
        for counter in self.by_model().values():
            total.add(counter)
        return total

    def add_client_usage(self, calls: int, wall_ns: int) -> None:
        """Add what a client measured around its own calls."""
        with self._lock:
            self._client_calls += calls
            self._client_wall_ns += wall_ns

    def usage(self) -> dict[str, int]:
        """The answer of GET /v2/elastic-inference/usage; times in nanoseconds."""
        total = self.total()
        return {
            "requests": total.requests,
            "failures": total.failures,
            "receive_ns": round(total.receive * 1e9),
            "compute_ns": round(total.compute * 1e9),
            "send_ns": round(total.send * 1e9),
            "client_calls": self._client_calls,
            "client_wall_ns": self._client_wall_ns,
            "bytes_in": total.bytes_in,
            "bytes_out": total.bytes_out,
        }


def triton_statistics(model: str, version: str, counter: Counter) -> dict[str, object]:
    """One entry of the statistics extension's `model_stats`; durations in nanoseconds.

    Each request is one execution of batch size 1, since a model's first dimension is its own
    affair here.
    """

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": round(seconds * 1e9)}

    done = counter.requests
    whole = counter.receive + counter.compute + counter.send
    computed = {
        "compute_input": duration(done, counter.receive),
        "compute_infer": duration(done, counter.compute),
        "compute_output": duration(done, counter.send),
    }
    return {
        "name": model,
        "version": version,
        "last_inference": round(counter.last * 1000),
        "inference_count": done,
        "execution_count": done,
        "inference_stats": {
            "success": duration(done, whole),
            "fail": duration(counter.failures, counter.failure_time),
            "queue": duration(done, 0.0),
            **computed,
            "cache_hit": duration(0, 0.0),
            "cache_miss": duration(0, 0.0),
        },
        "response_stats": {},
        "batch_stats": [{"batch_size": 1, **computed}] if done else [],
        "memory_usage": [],
    }
