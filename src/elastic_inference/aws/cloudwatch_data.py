"""CloudWatch: several metrics at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.cloudwatch_input import (
    MINUTE,
    VALIDATION,
    Reader,
    check_account,
    metric_of,
    reader_of,
    times_of,
)
from elastic_inference.aws.errors import AwsError, missing, unsupported
from elastic_inference.aws.pages import page
from elastic_inference.control.metric_values import KEPT, Metric
from elastic_inference.control.plane import ControlPlane

_MOST_QUERIES, _MOST_OF_DATA = 500, 100_800
# What one call may have read, over all of its metrics.
_MOST_MINUTES = 2_000_000
_QUERY_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")


class CloudWatchData:
    """GetMetricData."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "GetMetricData": operation(
                self._data,
                "MetricDataQueries StartTime EndTime NextToken ScanBy MaxDatapoints",
            ),
        }

    def _data(self, call: Call) -> Document:
        queries = [
            _Query.of(call, number, each)
            for number, each in enumerate(call.input["MetricDataQueries"], 1)
        ]
        _check_queries(queries, self._plane.clock.time() - KEPT)
        _check_most(call)
        ascending = call.input.get("ScanBy") == "TimestampAscending"
        found = {
            at: self._points(call, at, each, ascending)
            for at, each in enumerate(queries)
            if each.is_returned
        }
        shown, more = page(
            [point for points in found.values() for point in points], call,
            lambda point: point.key, size="MaxDatapoints", most=_MOST_OF_DATA,
        )  # fmt: skip
        pages: dict[int, list[_Point]] = {}
        for point in shown:
            pages.setdefault(point.key[0], []).append(point)
        results = [
            queries[at].result(
                pages.get(at, []), is_whole=not points or points[-1].key <= shown[-1].key
            )
            for at, points in found.items()
            # One without any values is told of at once.
            if at in pages or not (points or call.input.get("NextToken"))
        ]
        return {"MetricDataResults": results, "NextToken": more}

    def _points(self, call: Call, at: int, query: _Query, ascending: bool) -> list[_Point]:
        found = self._plane.metrics.statistics(
            call.account, query.metric, query.since, query.until,
            period=query.period, unit=query.unit,
        )  # fmt: skip
        points = []
        for each in found:
            value = query.reader(each)
            if value is not None:
                key = (at, each.at if ascending else -each.at, each.unit)
                points.append(_Point(key, each.at, value))
        return sorted(points, key=lambda point: point.key)


@dataclass(frozen=True, slots=True)
class _Point:
    key: tuple[int, float, str]
    at: float
    value: float


@dataclass(frozen=True, slots=True)
class _Query:
    """One of the queries of GetMetricData."""

    id: str
    label: str
    metric: Metric
    reader: Reader
    period: int
    since: float
    until: float
    unit: str | None
    is_returned: bool

    @classmethod
    def of(cls, call: Call, number: int, given: Document) -> _Query:
        where = f"MetricDataQueries.member.{number}"
        if not _QUERY_ID.fullmatch(given["Id"]):
            raise AwsError(
                VALIDATION,
                f"The value {given['Id'][:64]} for parameter {where}.Id is not matching the"
                " expected pattern ^[a-z][a-zA-Z0-9_]*$.",
            )
        for name in ("Expression", "Period"):
            if name in given:
                raise unsupported(
                    f"{where}.{name} is for metric math, which there is none of here."
                )
        if "MetricStat" not in given:
            raise AwsError(VALIDATION, f"The parameter {where}.MetricStat is required.")
        check_account(call, given.get("AccountId"), f"{where}.AccountId")
        stat = given["MetricStat"]
        for name in ("Namespace", "MetricName"):
            if name not in stat["Metric"]:
                raise AwsError(
                    VALIDATION, f"The parameter {where}.MetricStat.Metric.{name} is required."
                )
        metric = metric_of(stat["Metric"])
        if "${" in given.get("Label", ""):
            raise unsupported(f"The parameter {where}.Label has a dynamic label. Name it plainly.")
        period, since, until = times_of(call.input, stat["Period"], VALIDATION)
        return cls(
            id=given["Id"],
            label=given.get("Label") or metric.name,
            metric=metric,
            reader=reader_of(stat["Stat"], VALIDATION),
            period=period,
            since=since,
            until=until,
            unit=stat.get("Unit"),
            is_returned=given.get("ReturnData", True),
        )

    def result(self, points: Sequence[_Point], *, is_whole: bool) -> Document:
        return {
            "Id": self.id,
            "Label": self.label,
            "Timestamps": [each.at for each in points],
            "Values": [each.value for each in points],
            "StatusCode": "Complete" if is_whole else "PartialData",
        }


def _check_queries(queries: Sequence[_Query], oldest: float) -> None:
    if not queries:
        raise missing("monitoring", "MetricDataQueries")
    if len(queries) > _MOST_QUERIES:
        raise AwsError(
            VALIDATION,
            f"The collection MetricDataQueries must not have a size greater than {_MOST_QUERIES}.",
        )
    if len({each.id for each in queries}) < len(queries):
        raise AwsError(
            VALIDATION, "The values for parameter Id in MetricDataQueries are not unique."
        )

    minutes = sum(max(0.0, each.until - max(each.since, oldest)) for each in queries) / MINUTE
    if minutes > _MOST_MINUTES:
        raise AwsError(
            VALIDATION,
            f"The queries ask for {minutes:,.0f} minutes of metrics, of which a call may have"
            f" {_MOST_MINUTES:,}. Make several calls, or ask for less time.",
        )


def _check_most(call: Call) -> None:
    if not 0 < call.input.get("MaxDatapoints", 1) <= _MOST_OF_DATA:
        raise AwsError(
            VALIDATION, f"The parameter MaxDatapoints must be from 1 to {_MOST_OF_DATA}."
        )
