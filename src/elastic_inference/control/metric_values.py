"""Metrics and their values: how these are kept, and what is made of those of a period."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NO_UNIT = "None"
_SIZES = ("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes")
_BITS = ("Bits", "Kilobits", "Megabits", "Gigabits", "Terabits")
UNITS = (
    *("Seconds", "Microseconds", "Milliseconds"), *_SIZES, *_BITS, "Percent", "Count",
    *(f"{each}/Second" for each in (*_SIZES, *_BITS, "Count")), NO_UNIT,
)  # fmt: skip
KEPT = 14 * 86400.0

# Chunks begin at multiples of so many seconds.
LENGTH = 3600
# What a chunk keeps apart; beyond it the values of one moment become one.
MOST = 2000
# The moment within the chunk in seconds, how many there were, sum, minimum, maximum.
_POINT = struct.Struct("<Hdddd")


class Metric(NamedTuple):
    """A metric; its dimensions in the order of their names."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Mapping[str, str]) -> Metric:
        return cls(namespace, name, tuple(sorted(dimensions.items())))


class Point(NamedTuple):
    """Values of one moment, a Unix time: how many, their sum, the least and the greatest."""

    at: int
    weight: float
    total: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Datum:
    """Values that somebody puts to a metric; `unit` is one of `UNITS`."""

    metric: Metric
    unit: str
    points: Sequence[Point]


@dataclass(slots=True)
class Statistics:
    """What the values of a period were.

    Attributes:
        at: when the period began, a Unix time.
        unit: of all but `count`.
        count: how many there were.
        points: the values where they are known one by one, with their counts; None: they are not.
    """

    at: float
    unit: str
    count: float = 0.0
    total: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    points: dict[float, float] | None = field(default_factory=dict)

    @property
    def average(self) -> float:
        return self.total / self.count if self.count else 0.0

    def add(self, point: Point) -> None:
        self.count += point.weight
        self.total += point.total
        self.minimum = min(self.minimum, point.minimum)
        self.maximum = max(self.maximum, point.maximum)
        if point.minimum != point.maximum:
            self.points = None
        elif self.points is not None:
            self.points[point.minimum] = self.points.get(point.minimum, 0.0) + point.weight

    def percentile(self, percent: float) -> float | None:
        """The value that so many percent are not above; None where nobody knows any more."""
        if self.points is None or not self.points:
            return None
        wanted, seen = self.count * percent / 100.0, 0.0
        values = sorted(self.points)
        for value in values:
            seen += self.points[value]
            if seen >= wanted:
                return value
        return values[-1]


def pack(began_at: int, points: Sequence[Point]) -> bytes:
    """A chunk of `points`; of more than `MOST`, those of one moment become one."""
    if len(points) > MOST:
        points = _merged(points)
    return b"".join(
        _POINT.pack(each.at - began_at, each.weight, each.total, each.minimum, each.maximum)
        for each in points
    )


def unpack(began_at: int, points: bytes) -> Iterator[Point]:
    """The points of a chunk that begins at a Unix time; what is damaged ends it."""
    whole = len(points) - len(points) % _POINT.size
    for offset, *values in _POINT.iter_unpack(memoryview(points)[:whole]):
        yield Point(began_at + offset, *values)


def gather(points: Iterable[Point], unit: str, since: float, period: int) -> list[Statistics]:
    """The statistics of each period that has points, the first of which begins with `since`."""
    found: dict[int, Statistics] = {}
    for point in points:
        index = int((point.at - since) // period)
        if index not in found:
            found[index] = Statistics(since + index * period, unit)
        found[index].add(point)
    return [found[index] for index in sorted(found)]


def _merged(points: Sequence[Point]) -> list[Point]:
    found: dict[int, Point] = {}
    for each in points:
        known = found.get(each.at)
        found[each.at] = each if known is None else Point(
            each.at,
            known.weight + each.weight,
            known.total + each.total,
            min(known.minimum, each.minimum),
            max(known.maximum, each.maximum),
        )  # fmt: skip
    return sorted(found.values(), key=lambda each: each.at)
