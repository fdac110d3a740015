"""CloudWatch: values that users put to metrics of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.cloudwatch_input import COMBINATION, VALUE, dimensions_of, trimmed
from elastic_inference.aws.errors import AwsError, missing
from elastic_inference.control.metric_values import KEPT, NO_UNIT, Datum, Metric, Point
from elastic_inference.control.plane import ControlPlane

_MOST_DATA, _MOST_VALUES = 1000, 150
_GREATEST = 2.0**360
_AHEAD = 2 * 3600.0
_RESOLUTIONS = (1, 60)
_KINDS = ("Value", "Values", "StatisticValues")


class CloudWatchPut:
    """PutMetricData."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "PutMetricData": operation(self._put, "Namespace MetricData"),
        }

    def _put(self, call: Call) -> Document:
        namespace = trimmed(call.input["Namespace"], "Namespace")
        if namespace.startswith("AWS/"):
            raise AwsError(VALUE, "The value AWS/ for parameter Namespace is invalid.")
        data = call.input.get("MetricData")
        if not data:
            raise missing("monitoring", "MetricData")
        if len(data) > _MOST_DATA:
            raise AwsError(
                VALUE,
                f"The collection MetricData must not have a size greater than {_MOST_DATA}.",
            )
        now = self._plane.clock.time()
        self._plane.metrics.put(
            call.account,
            [
                _datum(namespace, each, f"MetricData.member.{number}", now)
                for number, each in enumerate(data, 1)
            ],
        )
        return {}


def _datum(namespace: str, given: Document, where: str, now: float) -> Datum:
    dimensions = dimensions_of(given.get("Dimensions", ()), f"{where}.Dimensions")
    for name, value in dimensions.items():
        if name.startswith(":") or not (name + value).isascii() or not name.strip():
            raise AwsError(VALUE, f"{where}.Dimensions has a name that is none: {name[:64]!r}.")
        if not value.strip():
            raise AwsError(VALUE, f"{where}.Dimensions has no value for {name[:64]!r}.")
    resolution = given.get("StorageResolution", _RESOLUTIONS[-1])
    if resolution not in _RESOLUTIONS:
        raise AwsError(VALUE, f"The parameter {where}.StorageResolution must be 1 or 60.")
    at = _moment(given.get("Timestamp", now), where, now) // resolution * resolution
    return Datum(
        Metric.of(namespace, given["MetricName"], dimensions),
        given.get("Unit", NO_UNIT),
        list(_points(int(at), given, where)),
    )


def _moment(at: float, where: str, now: float) -> float:
    name = f"The parameter {where}.Timestamp"
    if not now - KEPT <= at:
        raise AwsError(VALUE, f"{name} must specify a time no more than two weeks in the past.")
    if not at <= now + _AHEAD:
        raise AwsError(VALUE, f"{name} must specify a time within two hours in the future.")
    return at


def _points(at: int, given: Document, where: str) -> Iterator[Point]:
    kinds = [each for each in _KINDS if each in given]
    if not kinds:
        raise AwsError(
            COMBINATION, f"One of {where}.Value, .Values and .StatisticValues must be there."
        )
    if len(kinds) > 1:
        raise AwsError(
            COMBINATION,
            f"The parameters {where}.{kinds[0]} and {where}.{kinds[1]} are mutually exclusive and"
            " you have specified both.",
        )
    if "Counts" in given and kinds != ["Values"]:
        raise AwsError(COMBINATION, f"{where}.Counts is for {where}.Values alone.")
    if kinds == ["StatisticValues"]:
        yield _statistic_set(at, given["StatisticValues"], f"{where}.StatisticValues")
        return
    values = given.get("Values", [given.get("Value")])
    for value, count in zip(values, _counts(given, values, where), strict=True):
        _check(value, f"{where}.{kinds[0]}")
        yield Point(at, count, value * count, value, value)


def _counts(given: Document, values: Sequence[float], where: str) -> Sequence[float]:
    if not 0 < len(values) <= _MOST_VALUES:
        raise AwsError(
            VALUE, f"The collection {where}.Values must have a size from 1 to {_MOST_VALUES}."
        )
    counts: Sequence[float] = given.get("Counts") or [1.0] * len(values)
    if len(counts) != len(values):
        raise AwsError(
            VALUE,
            f"The parameters {where}.Values and {where}.Counts must be of the same size.",
        )
    for each in counts:
        _check(each, f"{where}.Counts", positive=True)
    return counts


def _statistic_set(at: int, given: Document, where: str) -> Point:
    for name in ("Sum", "Minimum", "Maximum"):
        _check(given[name], f"{where}.{name}")
    _check(given["SampleCount"], f"{where}.SampleCount", positive=True)
    if given["Minimum"] > given["Maximum"]:
        raise AwsError(VALUE, f"{where}.Minimum must not be above {where}.Maximum.")
    return Point(at, given["SampleCount"], given["Sum"], given["Minimum"], given["Maximum"])


def _check(value: float, where: str, *, positive: bool = False) -> None:
    if not math.isfinite(value) or abs(value) > _GREATEST or (positive and value <= 0):
        raise AwsError(VALUE, f"The value {value} for parameter {where} is invalid.")
