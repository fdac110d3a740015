"""CloudWatch: which metrics there are, and what one of them was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.cloudwatch_input import (
    COMBINATION,
    VALUE,
    Reader,
    check_account,
    metric_of,
    reader_of,
    times_of,
    trimmed,
)
from elastic_inference.aws.errors import AwsError, unsupported
from elastic_inference.aws.pages import page
from elastic_inference.control.metric_values import Metric, Statistics
from elastic_inference.control.plane import ControlPlane

_PAGE = 500
_RECENTLY = 3 * 3600.0
_MOST_POINTS = 1440


class CloudWatch:
    """ListMetrics and GetMetricStatistics."""

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
        }

    # -- which there are --------------------------------------------------------------------------

    def _list(self, call: Call) -> Document:
        if call.input.get("IncludeLinkedAccounts"):
            raise unsupported("There are no linked accounts here. Leave IncludeLinkedAccounts out.")
        check_account(call, call.input.get("OwningAccount"), "OwningAccount")
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
        shown, more = page(found, call, _key, size="", most=_PAGE, code=VALUE)
        return {"Metrics": [_describe(each) for each in shown], "NextToken": more}

    # -- one metric -------------------------------------------------------------------------------

    def _statistics(self, call: Call) -> Document:
        given = call.input
        names, extended = given.get("Statistics", ()), given.get("ExtendedStatistics", ())
        if bool(names) is bool(extended):
            raise AwsError(
                COMBINATION, "Must specify either Statistics or ExtendedStatistics, and not both."
            )
        wanted = {name: reader_of(name, VALUE) for name in (*names, *extended)}
        period, since, until = times_of(given, given["Period"], VALUE)
        if (until - since) / period > _MOST_POINTS:
            raise AwsError(
                COMBINATION,
                f"You have requested up to {-int((since - until) // period):,} datapoints, which"
                f" exceeds the limit of {_MOST_POINTS:,}. You may reduce the datapoints requested"
                " by increasing Period, or decreasing the time range.",
            )
        metric = metric_of(given)
        found = self._plane.metrics.statistics(
            call.account, metric, since, until, period=period, unit=given.get("Unit")
        )
        return {
            "Label": metric.name,
            "Datapoints": [_datapoint(each, wanted, bool(extended)) for each in found],
        }


def _key(metric: Metric) -> tuple[str, ...]:
    dimensions = (each for pair in metric.dimensions for each in pair)
    return (metric.namespace, metric.name, *dimensions)


def _describe(metric: Metric) -> Document:
    return {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
    }


def _datapoint(found: Statistics, wanted: Mapping[str, Reader], extended: bool) -> Document:
    values = {name: reader(found) for name, reader in wanted.items()}
    values = {name: value for name, value in values.items() if value is not None}
    shown: dict[str, Any] = {"ExtendedStatistics": values} if extended else dict(values)
    return {"Timestamp": found.at, "Unit": found.unit, **shown}
