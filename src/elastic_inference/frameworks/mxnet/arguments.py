"""What a call of an operator gives: inputs and attributes, by position or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.frameworks.mxnet.attributes import Attributes, to_text
from elastic_inference.frameworks.mxnet.errors import mxnet_error, type_error
from elastic_inference.frameworks.mxnet.table import Operator


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an operator.

    Attributes:
        attributes: as text; `values` as what they mean.
        names: of the inputs that the operator has with these attributes.
        inputs: those that are given, by name.
    """

    attributes: dict[str, str]
    values: Attributes
    names: tuple[str, ...]
    inputs: dict[str, Any]


def sort(
    operator: Operator,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    kind: type | tuple[type, ...],
    node: str = "",
) -> Call:
    """Tell inputs, which are of `kind`, from attributes.

    Raises:
        MXNetError: an attribute is unknown or wrong.
        TypeError: there are too many inputs, or one is given twice.
    """
    positional, attributes = _by_position(operator, arguments, kind)
    named: dict[str, Any] = {}
    for name, value in keywords.items():
        if isinstance(value, kind):
            named[name] = value
        elif isinstance(value, list | tuple) and value and isinstance(value[0], kind):
            positional += list(value)
        elif value is not None or name in operator.parameters:
            if name in attributes:
                raise type_error(f"{operator.name}() got multiple values for argument {name!r}")
            attributes[name] = to_text(value)
    if operator.variadic:
        positional += list(named.values())
        attributes.setdefault(operator.variadic, str(len(positional)))
        named = {}
    values = operator.parse(attributes, node, strict=True)
    names = operator.input_names(values, len(positional))
    return Call(attributes, values, names, _by_name(operator, names, positional, named))


def _by_position(
    operator: Operator, arguments: Sequence[Any], kind: type | tuple[type, ...]
) -> tuple[list[Any], dict[str, str]]:
    inputs: list[Any] = []
    attributes: dict[str, str] = {}
    parameters = iter(operator.parameters)
    for argument in arguments:
        if isinstance(argument, kind):
            inputs.append(argument)
        elif isinstance(argument, list | tuple) and argument and isinstance(argument[0], kind):
            inputs += argument
        elif argument is None and not attributes:
            inputs.append(None)
        else:
            name = next(parameters, None)
            if name is None:
                raise type_error(f"{operator.name}() takes no such argument: {argument!r}")
            attributes[name] = to_text(argument)
    while inputs and inputs[-1] is None:
        inputs.pop()
    return inputs, attributes


def _by_name(
    operator: Operator, names: tuple[str, ...], positional: list[Any], named: dict[str, Any]
) -> dict[str, Any]:
    if len(positional) > len(names):
        raise type_error(
            f"{operator.name}() takes {len(names)} inputs, and {len(positional)} are given"
        )
    found = {
        name: value for name, value in zip(names, positional, strict=False) if value is not None
    }
    for name, value in named.items():
        if name not in names:
            listed = "".join(f"\n\t[{at}]{each}" for at, each in enumerate(names))
            raise mxnet_error(
                "nnvm/src/core/symbolic.cc:90",
                f"Symbol.ComposeKeyword argument name {name} not found.\n"
                f"Candidate arguments:{listed}",
            )
        if name in found:
            raise type_error(f"{operator.name}() got multiple values for input {name!r}")
        found[name] = value
    return found
