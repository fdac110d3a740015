"""What was measured, as tables: who was how fast, and whether the bars are reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.harness import Sample
from benchmarks.report import Table, cell

MANY = 8
# Against Triton over plain HTTP: how many times lower the p50 with one connection must be, and
# how many times more requests per second eight connections must get.
BARS = {"tiny": (4.0, 3.0), "image": (3.0, 3.0), "frame": (3.0, 3.0)}


@dataclass(slots=True)
class Figure:
    """A server's figures for one workload.

    Attributes:
        title: of the server and the protocol.
        one, many: with one and with MANY connections, or None where not measured.
        reason: why not, or "".
    """

    title: str
    one: Sample | None = None
    many: Sample | None = None
    reason: str = ""


@dataclass(slots=True)
class Figures:
    """A run's figures: by workload, in the servers' order."""

    by_workload: dict[str, list[Figure]] = field(default_factory=dict)

    def find(self, workload: str, title: str) -> Figure | None:
        found = (each for each in self.by_workload.get(workload, []) if each.title == title)
        return next(found, None)


_COLUMNS = (
    "server",
    "p50 of one, ms",
    "times ours",
    f"p50 of {MANY}, ms",
    f"p99 of {MANY}, ms",
    f"requests/s of {MANY}",
    "ours, times as many",
)


def tables(figures: Figures, reference: str) -> list[Table]:
    """One table a workload; the ratios are to the server `reference`."""
    return [
        Table(
            f"{workload}: peers beside the project",
            _COLUMNS,
            [_row(each, figures.find(workload, reference)) for each in rows],
        )
        for workload, rows in figures.by_workload.items()
    ]


def _row(figure: Figure, reference: Figure | None) -> Sequence[object]:
    if figure.one is None:
        return (figure.title, figure.reason, *[None] * (len(_COLUMNS) - 2))
    one, many = figure.one, figure.many
    slower = fewer = None
    if reference is not None and reference.one is not None:
        slower = one.p50_us / reference.one.p50_us
        if reference.many is not None and many is not None:
            fewer = reference.many.requests_per_second / many.requests_per_second
    return (
        figure.title,
        one.p50_us / 1000,
        slower,
        many.p50_us / 1000 if many else figure.reason or None,
        many.p99_us / 1000 if many else None,
        many.requests_per_second if many else None,
        fewer,
    )


def bars(figures: Figures, ours: str, peers: Sequence[str]) -> Table | None:
    """How far ahead of the best of `peers` the server `ours` is; None where none was measured."""
    rows = []
    for workload, (latency, throughput) in BARS.items():
        mine = figures.find(workload, ours)
        others = [figures.find(workload, peer) for peer in peers]
        lowest = [each.one.p50_us for each in others if each and each.one]
        most = [each.many.requests_per_second for each in others if each and each.many]
        if mine is not None and mine.one is not None and lowest:
            lower = min(lowest) / mine.one.p50_us
            rows.append((workload, "p50 of one, times lower", lower, at_least(lower, latency)))
        if mine is not None and mine.many is not None and most:
            more = mine.many.requests_per_second / max(most)
            what = f"requests/s of {MANY}, times more"
            rows.append((workload, what, more, at_least(more, throughput)))
    if not rows:
        return None
    columns = ("workload", "what", "ratio", "bar")
    return Table(f"{ours} against the better of {' and '.join(peers)}", columns, rows)


def at_least(value: float, bar: float) -> str:
    """How a figure stands against its bar; the higher figure is the better one."""
    return f"{cell(bar)}: {'reached' if value >= bar else 'missed'}"
