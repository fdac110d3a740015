"""Parameters against their model, and against what an operation heeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from botocore.model import Shape

from elastic_inference.aws import errors
from elastic_inference.aws.errors import AwsError

_CONTAINERS = frozenset({"structure", "list", "map"})
_NUMBERS = frozenset({"integer", "long", "float", "double"})
# What no answer in XML could repeat, halves of surrogate pairs among it.
_IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What Java writes otherwise: characters beyond its 16 bits, and classes of characters.
_CLASSES = {
    r"\uD800\uDC00-\uDBFF\uDFFF": "\U00010000-\U0010ffff",
    r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}
_MOST_TOLD = 10
OWN_VALUES = frozenset({"InstanceType"})
"""Shapes whose values are the pool's own: each operation says which there are."""
# What to give instead of what AWS would take.
_INSTEAD: Mapping[str, str] = {
    "BlockDeviceMappings": "Instances have no volumes: their home is on the machine of the pool.",
    "InstanceMarketOptions": "There are no Spot Instances.",
    "LaunchConfigurationName": "Give a LaunchTemplate.",
    "MixedInstancesPolicy": "Give a LaunchTemplate with one instance type.",
    "PredefinedMetricSpecification": "Give a CustomizedMetricSpecification, of a metric that"
    " AWS/ElasticInference or PutMetricData has.",
}


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with a parameter.

    Attributes:
        rule: as AWS says it; "" where the parameter is missing.
    """

    path: str
    value: str
    rule: str


def check(service: str, shape: Shape | None, given: Mapping[str, Any]) -> None:
    """Refuse what the model does not have.

    Raises:
        AwsError: a parameter is missing, out of its range, or none of its values.
    """
    if shape is None:
        return
    # EC2 does not hold itself to the patterns of its model.
    patterns = service != "ec2"
    faults = list(islice(_faults(shape, given, "", patterns=patterns), _MOST_TOLD))
    if faults:
        raise _error(service, faults)


def _error(service: str, faults: list[_Fault]) -> AwsError:
    first = faults[0]
    if not first.rule:
        return errors.missing(service, first.path)
    if errors.family(service) == "ec2":
        text = f"Value ({first.value}) for parameter {first.path} is invalid. {first.rule}"
        return errors.invalid(service, text)
    faults = [each for each in faults if each.rule]
    count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected"
    each = "; ".join(
        f"Value '{fault.value}' at '{fault.path}' failed to satisfy constraint: {fault.rule}"
        for fault in faults
    )
    return errors.invalid(service, f"{count}: {each}")


def _faults(shape: Any, value: Any, path: str, *, patterns: bool) -> Iterator[_Fault]:
    kind = shape.type_name
    if kind == "structure":
        yield from _faults_of_structure(shape, value, path, patterns=patterns)
    elif kind == "list":
        yield from _out_of_length(shape, len(value), path, "")
        if _is_bound(shape.member):
            for at, each in enumerate(value, 1):
                yield from _faults(shape.member, each, f"{path}.{at}", patterns=patterns)
    elif kind == "map":
        yield from _out_of_length(shape, len(value), path, "")
        for key, each in value.items():
            yield from _faults(shape.key, key, path, patterns=patterns)
            yield from _faults(shape.value, each, f"{path}.{key[:64]}", patterns=patterns)
    elif kind == "string":
        yield from _faults_of_text(shape, value, path, patterns=patterns)
    elif kind == "blob":
        yield from _out_of_length(shape, len(value), path, "")
    elif kind in _NUMBERS:
        yield from _out_of_range(shape, value, path)


def _is_bound(shape: Any) -> bool:
    """Whether there is something that a value of this shape may not be."""
    free = shape.type_name in _NUMBERS and not {"min", "max"} & shape.metadata.keys()
    return not free and shape.type_name not in {"boolean", "timestamp"}


def _faults_of_structure(
    shape: Any, value: Mapping[str, Any], path: str, *, patterns: bool
) -> Iterator[_Fault]:
    prefix = f"{path}." if path else ""
    for name in shape.required_members:
        if name not in value:
            yield _Fault(prefix + name, "", "")
    if shape.is_tagged_union and len(value) != 1:
        yield _Fault(path, ", ".join(value), "Exactly one of its members must be set")
    for name, each in value.items():
        yield from _faults(shape.members[name], each, prefix + name, patterns=patterns)


def _faults_of_text(shape: Any, value: str, path: str, *, patterns: bool) -> Iterator[_Fault]:
    shown = _IMPOSSIBLE.sub("\ufffd", value[:64])
    if _IMPOSSIBLE.search(value):
        yield _Fault(path, shown, "Member must not have control characters")
    yield from _out_of_length(shape, len(value), path, shown)
    if shape.enum and value not in shape.enum and shape.name not in OWN_VALUES:
        values = ", ".join(shape.enum[:20]) + (", …" if len(shape.enum) > 20 else "")
        yield _Fault(path, shown, f"Member must satisfy enum value set: [{values}]")
    rule = shape.metadata.get("pattern")
    if rule and patterns and not pattern(rule).fullmatch(value):
        yield _Fault(path, shown, f"Member must satisfy regular expression pattern: {rule}")


def _out_of_length(shape: Any, length: int, path: str, shown: str) -> Iterator[_Fault]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and length < least:
        rule = f"Member must have length greater than or equal to {least}"
        yield _Fault(path, shown, rule)
    if most is not None and length > most:
        yield _Fault(path, shown, f"Member must have length less than or equal to {most}")


def _out_of_range(shape: Any, value: float, path: str) -> Iterator[_Fault]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        rule = f"Member must have value greater than or equal to {least}"
        yield _Fault(path, str(value), rule)
    if most is not None and value > most:
        yield _Fault(path, str(value), f"Member must have value less than or equal to {most}")


@cache
def pattern(text: str) -> re.Pattern[str]:
    """A pattern of the models, which are Java's."""
    for java, python in _CLASSES.items():
        text = text.replace(java, python)
    if r"\p" in text:
        # Letters, marks, numbers, signs: all that is printed. What is not was refused already.
        text = re.sub(r"\\p\{\w+\}", r"!-~\\u00a1-\\uffff\\U00010000-\\U0010ffff", text)
    return re.compile(text, re.ASCII)


def check_honoured(shape: Shape | None, given: Mapping[str, Any], honours: frozenset[str]) -> None:
    """Refuse parameters that an operation would not heed.

    Raises:
        AwsError: naming the parameter.
    """
    path = _unheeded(shape, given, "", honours) if shape is not None else None
    if path is not None:
        instead = " ".join(_INSTEAD[each] for each in path.split(".") if each in _INSTEAD)
        raise errors.unsupported(
            f"The parameter {path} is not honoured here, and nothing was done. Leave it out."
            f" {instead}".rstrip()
        )


def _unheeded(shape: Any, value: Any, path: str, honours: frozenset[str]) -> str | None:
    """The first part of a value that is not heeded; lists and maps do not show in its path."""
    if path in honours:
        return None
    if shape.type_name not in _CONTAINERS or (path and not value):
        return path
    for below, each, name in _parts(shape, value):
        found = _unheeded(below, each, f"{path}.{name}".strip(".") if name else path, honours)
        if found is not None:
            return found
    return None


def _parts(shape: Any, value: Any) -> Iterator[tuple[Any, Any, str]]:
    """What a structure, a list or a map holds: shapes, values and, of a structure, names."""
    match shape.type_name:
        case "structure":
            yield from ((shape.members[name], each, name) for name, each in value.items())
        case "list":
            yield from ((shape.member, each, "") for each in value)
        case "map":
            yield from ((shape.value, each, "") for each in value.values())
