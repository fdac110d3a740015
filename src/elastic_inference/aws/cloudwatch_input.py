"""What CloudWatch's operations are given, read and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from elastic_inference.aws.call import Call, Document
from elastic_inference.aws.errors import AwsError
from elastic_inference.control.metric_values import Metric, Statistics

VALUE, COMBINATION = "InvalidParameterValue", "InvalidParameterCombination"
VALIDATION = "ValidationError"
MINUTE = 60
_SHORT_PERIODS = (1, 5, 10, 20, 30)
_LONGEST_PERIOD = 365 * 86400
_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,10})?|100)")
_STATISTICS: Mapping[str, Callable[[Statistics], float]] = {
    "SampleCount": lambda found: found.count,
    "Average": lambda found: found.average,
    "Sum": lambda found: found.total,
    "Minimum": lambda found: found.minimum,
    "Maximum": lambda found: found.maximum,
}
# None: nobody knows it any more.
Reader = Callable[[Statistics], float | None]


def trimmed(namespace: str, name: str) -> str:
    """A namespace without the blanks around it, with which AWS's own documents have it."""
    found = namespace.strip()
    if not found:
        raise AwsError(VALUE, f"The parameter {name} must not be blank.")
    return found


def dimensions_of(given: Sequence[Document], where: str = "Dimensions") -> dict[str, str]:
    """Dimensions by their names.

    Raises:
        AwsError: a name comes twice.
    """
    found: dict[str, str] = {each["Name"]: each["Value"] for each in given}
    if len(found) < len(given):
        raise AwsError(VALUE, f"The parameter {where} has one name more than once.")
    return found


def metric_of(given: Document) -> Metric:
    """The metric that is meant."""
    namespace = trimmed(given["Namespace"], "Namespace")
    return Metric.of(namespace, given["MetricName"], dimensions_of(given.get("Dimensions", ())))


def reader_of(name: str, code: str) -> Reader:
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


def times_of(given: Document, period: int, code: str) -> tuple[int, float, float]:
    """The period, and when the first one begins and the last one ends."""
    if period not in _SHORT_PERIODS and period % MINUTE:
        short = ", ".join(map(str, _SHORT_PERIODS))
        raise AwsError(
            code, f"The parameter Period must be one of {short}, or a multiple of {MINUTE}."
        )
    if period > _LONGEST_PERIOD:
        raise AwsError(code, f"The parameter Period must be at most {_LONGEST_PERIOD}.")
    since, until = given["StartTime"], given["EndTime"]
    if since >= until:
        raise AwsError(code, "The parameter StartTime must be less than the parameter EndTime.")
    step = min(period, MINUTE)
    return period, since // step * step, until


def check_account(call: Call, account: str | None, name: str) -> None:
    if account not in (None, call.account):
        raise AwsError(VALUE, f"The parameter {name} must be {call.account}, your own account.")
