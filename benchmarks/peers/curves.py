"""perf_analyzer's figures over rising concurrency, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.peers.figures import at_least
from benchmarks.report import Table, verdict

CONCURRENCIES = (1, 2, 4, 8, 16)
# What throughput may fall to from one concurrency to the next: two runs of one thing differ so.
_STEADY = 0.95
_TAIL = 10.0
_TAIL_AT = 8
_TAIL_WORKLOAD = "tiny"
_LARGE = ("image", "frame")


@dataclass(frozen=True, slots=True)
class Point:
    """One concurrency."""

    requests_per_second: float
    p50_us: float
    p99_us: float


@dataclass(slots=True)
class Curve:
    """A server's points for one workload, or the reason why there are none.

    Attributes:
        workload, title: what was asked, of whom.
        points: by concurrency.
        reason: why one is missing, or "".
    """

    workload: str
    title: str
    points: dict[int, Point] = field(default_factory=dict)
    reason: str = ""


def tables(curves: Sequence[Curve], http: str, grpc: str) -> list[Table]:
    """The bars, then every point; `http` and `grpc` are the project's titles."""
    rows: list[Sequence[object]] = []
    for curve in curves:
        for concurrency, point in curve.points.items():
            rows.append(
                (
                    *(curve.workload, curve.title, concurrency, point.requests_per_second),
                    *(point.p50_us / 1000, point.p99_us / 1000),
                )
            )
        if curve.reason:
            rows.append((curve.workload, curve.title, curve.reason, None, None, None))
    columns = ("workload", "server", "concurrency", "requests/s", "p50, ms", "p99, ms")
    standing = _bars(curves, http, grpc)
    summary = Table("perf_analyzer: bars", ("workload", "server", "what", "ratio", "bar"), standing)
    return [*([summary] if standing else []), Table("perf_analyzer, plain", columns, rows)]


def _bars(curves: Sequence[Curve], http: str, grpc: str) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for curve in curves:
        if curve.title not in {http, grpc} or set(curve.points) != set(CONCURRENCIES):
            continue
        rates = [point.requests_per_second for point in curve.points.values()]
        lowest = min(after / before for before, after in pairwise(rates))
        what = "requests/s, lowest step from one concurrency to the next"
        rows.append((curve.workload, curve.title, what, lowest, at_least(lowest, _STEADY)))
        if curve.workload == _TAIL_WORKLOAD:
            point = curve.points[_TAIL_AT]
            tail = point.p99_us / point.p50_us
            what = f"p99 in p50s at {_TAIL_AT}"
            rows.append((curve.workload, curve.title, what, tail, verdict(tail, _TAIL)))
        if curve.workload in _LARGE:
            rows += _against_grpc(curve, curves, bar=1.0 if curve.title == http else None)
    return rows


def _against_grpc(
    mine: Curve, curves: Sequence[Curve], *, bar: float | None
) -> list[Sequence[object]]:
    """How it stands against the better of Triton's over gRPC: at one, and at its most."""
    others = [
        curve
        for curve in curves
        if curve.workload == mine.workload
        and curve.title.startswith("Triton")
        and curve.title.endswith("gRPC")
        and set(curve.points) == set(CONCURRENCIES)
    ]
    if not others:
        return []
    lower = min(curve.points[1].p50_us for curve in others) / mine.points[1].p50_us
    more = _most(mine) / max(_most(curve) for curve in others)
    against = "Triton's gRPC"
    return [
        (mine.workload, mine.title, what, ratio, at_least(ratio, bar) if bar else "-")
        for what, ratio in (
            (f"p50 at 1, times lower than {against}", lower),
            (f"most requests/s, times {against}", more),
        )
    ]


def _most(curve: Curve) -> float:
    return max(point.requests_per_second for point in curve.points.values())
