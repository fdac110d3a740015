"""CloudWatch: which metrics there are, and what they were."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError, missing, unsupported
from elastic_inference.aws.pages import page
from elastic_inference.control.metric_values import KEPT, Metric, Statistics
from elastic_inference.control.plane import ControlPlane

_SERVICE = "monitoring"
_PAGE = 500
_RECENTLY = 3 * 3600.0
_MOST_POINTS, _MOST_QUERIES, _MOST_OF_DATA = 1440, 500, 100_800
# What one call may have read, over all of its metrics.
_MOST_MINUTES = 2_000_000
_SHORT_PERIODS = (1, 5, 10, 20, 30)
_LONGEST_PERIOD = 365 * 86400
_MINUTE = 60
_QUERY_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")
_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,10})?|100)")
_STATISTICS: Mapping[str, Callable[[Statistics], float]] = {
    "SampleCount": lambda found: found.count,
    "Average": lambda found: found.average,
    "Sum": lambda found: found.total,
    "Minimum": lambda found: found.minimum,
    "Maximum": lambda found: found.maximum,
}
_VALIDATION = "ValidationError"
_VALUE, _COMBINATION = "InvalidParameterValue", "InvalidParameterCombination"


class CloudWatch:
    """The operations that read."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "ListMetrics": operation(
                self._list,
                "Namespace MetricName Dimensions RecentlyActive NextToken OwningAccount"
                " IncludeLinkedAccounts",
            ),
            "GetMetricStatistics": operation(
                self._statistics,
                "Namespace MetricName Dimensions StartTime EndTime Period Statistics"
                " ExtendedStatistics Unit",
            ),
            "GetMetricData": operation(
                self._data,
                "MetricDataQueries StartTime EndTime NextToken ScanBy MaxDatapoints",
            ),
        }

    # -- which there are --------------------------------------------------------------------------

    def _list(self, call: Call) -> Document:
        if call.input.get("IncludeLinkedAccounts"):
            raise unsupported("There are no linked accounts here. Leave IncludeLinkedAccounts out.")
        _check_account(call, call.input.get("OwningAccount"), "OwningAccount")
        namespace = call.input.get("Namespace")
        since = self._plane.clock.time() - _RECENTLY if "RecentlyActive" in call.input else None
        found = self._plane.metrics.metrics(
            call.account,
            namespace=None if namespace is None else trimmed(namespace, "Namespace"),
            name=call.input.get("MetricName"),
            dimensions=[
                (each["Name"], each.get("Value")) for each in call.input.get("Dimensions", ())
            ],
            since=since,
        )
        shown, more = page(found, call, _key, size="", most=_PAGE, code=_VALUE)
        return {"Metrics": [_describe(each) for each in shown], "NextToken": more}

    # -- one metric -------------------------------------------------------------------------------

    def _statistics(self, call: Call) -> Document:
        given = call.input
        names, extended = given.get("Statistics", ()), given.get("ExtendedStatistics", ())
        if bool(names) is bool(extended):
            raise AwsError(
                _COMBINATION, "Must specify either Statistics or ExtendedStatistics, and not both."
            )
        wanted = {name: _reader(name, _VALUE) for name in (*names, *extended)}
        period, since, until = _times(given, given["Period"], _VALUE)
        if (until - since) / period > _MOST_POINTS:
            raise AwsError(
                _COMBINATION,
                f"You have requested up to {-int((since - until) // period):,} datapoints, which"
                f" exceeds the limit of {_MOST_POINTS:,}. You may reduce the datapoints requested"
                " by increasing Period, or decreasing the time range.",
            )
        metric = _metric(given)
        found = self._plane.metrics.statistics(
            call.account, metric, since, until, period=period, unit=given.get("Unit")
        )
        return {
            "Label": metric.name,
            "Datapoints": [_datapoint(each, wanted, bool(extended)) for each in found],
        }

    # -- several metrics --------------------------------------------------------------------------

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


_Reader = Callable[[Statistics], float | None]


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
    reader: _Reader
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
                _VALIDATION,
                f"The value {given['Id'][:64]} for parameter {where}.Id is not matching the"
                " expected pattern ^[a-z][a-zA-Z0-9_]*$.",
            )
        for name in ("Expression", "Period"):
            if name in given:
                raise unsupported(
                    f"{where}.{name} is for metric math, which there is none of here."
                )
        if "MetricStat" not in given:
            raise AwsError(_VALIDATION, f"The parameter {where}.MetricStat is required.")
        _check_account(call, given.get("AccountId"), f"{where}.AccountId")
        stat = given["MetricStat"]
        for name in ("Namespace", "MetricName"):
            if name not in stat["Metric"]:
                raise AwsError(
                    _VALIDATION, f"The parameter {where}.MetricStat.Metric.{name} is required."
                )
        metric = _metric(stat["Metric"])
        if "${" in given.get("Label", ""):
            raise unsupported(f"The parameter {where}.Label has a dynamic label. Name it plainly.")
        period, since, until = _times(call.input, stat["Period"], _VALIDATION)
        return cls(
            id=given["Id"],
            label=given.get("Label") or metric.name,
            metric=metric,
            reader=_reader(stat["Stat"], _VALIDATION),
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


def trimmed(namespace: str, name: str) -> str:
    """A namespace without the blanks around it, with which AWS's own documents have it."""
    found = namespace.strip()
    if not found:
        raise AwsError(_VALUE, f"The parameter {name} must not be blank.")
    return found


def dimensions_of(given: Sequence[Document], where: str = "Dimensions") -> dict[str, str]:
    """Dimensions by their names.

    Raises:
        AwsError: a name comes twice.
    """
    found: dict[str, str] = {each["Name"]: each["Value"] for each in given}
    if len(found) < len(given):
        raise AwsError(_VALUE, f"The parameter {where} has one name more than once.")
    return found


def _metric(given: Document) -> Metric:
    namespace = trimmed(given["Namespace"], "Namespace")
    return Metric.of(namespace, given["MetricName"], dimensions_of(given.get("Dimensions", ())))


def _key(metric: Metric) -> tuple[str, ...]:
    dimensions = (each for pair in metric.dimensions for each in pair)
    return (metric.namespace, metric.name, *dimensions)


def _describe(metric: Metric) -> Document:
    return {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
    }


def _datapoint(found: Statistics, wanted: Mapping[str, _Reader], extended: bool) -> Document:
    values = {name: reader(found) for name, reader in wanted.items()}
    values = {name: value for name, value in values.items() if value is not None}
    shown: dict[str, Any] = {"ExtendedStatistics": values} if extended else dict(values)
    return {"Timestamp": found.at, "Unit": found.unit, **shown}


def _reader(name: str, code: str) -> _Reader:
    if name in _STATISTICS:
        return _STATISTICS[name]
    match = _PERCENTILE.fullmatch(name)
    if match is None:
        raise AwsError(
            code,
            f"The statistic {name[:64]!r} is none here: use {', '.join(_STATISTICS)} or a"
            " percentile, as p99.",
        )
    percent = float(match[1])
    return lambda found: found.percentile(percent)


def _times(given: Document, period: int, code: str) -> tuple[int, float, float]:
    """The period, and when the first one begins and the last one ends."""
    if period not in _SHORT_PERIODS and period % _MINUTE:
        short = ", ".join(map(str, _SHORT_PERIODS))
        raise AwsError(
            code, f"The parameter Period must be one of {short}, or a multiple of {_MINUTE}."
        )
    if period > _LONGEST_PERIOD:
        raise AwsError(code, f"The parameter Period must be at most {_LONGEST_PERIOD}.")
    since, until = given["StartTime"], given["EndTime"]
    if since >= until:
        raise AwsError(code, "The parameter StartTime must be less than the parameter EndTime.")
    step = min(period, _MINUTE)
    return period, since // step * step, until


def _check_account(call: Call, account: str | None, name: str) -> None:
    if account not in (None, call.account):
        raise AwsError(_VALUE, f"The parameter {name} must be {call.account}, your own account.")


def _check_queries(queries: Sequence[_Query], oldest: float) -> None:
    if not queries:
        raise missing(_SERVICE, "MetricDataQueries")
    if len(queries) > _MOST_QUERIES:
        raise AwsError(
            _VALIDATION,
            f"The collection MetricDataQueries must not have a size greater than {_MOST_QUERIES}.",
        )
    if len({each.id for each in queries}) < len(queries):
        raise AwsError(
            _VALIDATION, "The values for parameter Id in MetricDataQueries are not unique."
        )

    minutes = sum(max(0.0, each.until - max(each.since, oldest)) for each in queries) / _MINUTE
    if minutes > _MOST_MINUTES:
        raise AwsError(
            _VALIDATION,
            f"The queries ask for {minutes:,.0f} minutes of metrics, of which a call may have"
            f" {_MOST_MINUTES:,}. Make several calls, or ask for less time.",
        )


def _check_most(call: Call) -> None:
    if not 0 < call.input.get("MaxDatapoints", 1) <= _MOST_OF_DATA:
        raise AwsError(
            _VALIDATION, f"The parameter MaxDatapoints must be from 1 to {_MOST_OF_DATA}."
        )
