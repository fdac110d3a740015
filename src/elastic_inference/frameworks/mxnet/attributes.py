"""Attributes of operators: declared once, written as text in files, read by their declaration."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from elastic_inference.frameworks.mxnet.errors import MXNetError, mxnet_error

REQUIRED: Final = object()
# Numbers of dtypes in files and in old attributes. numpy has none for 12, bfloat16.
DTYPES: Mapping[int, str] = {
    0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64",
    7: "bool", 8: "int16", 9: "uint16", 10: "uint32", 11: "uint64",
}  # fmt: skip
_SOURCE = "src/operator/../../include/dmlc/parameter.h:480"
_MAX_TEXT = 1 << 16
_MAX_INTEGER = 1 << 63
_NUMBER = re.compile(
    r"[+-]?(\d+L?|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?f?|inf|infinity|nan)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One attribute of an operator.

    Attributes:
        kind: what a user would call its type.
        read: makes the value of its text; raises ValueError.
        default: the value where none is given, or `REQUIRED`.
    """

    kind: str
    read: Callable[[str], Any]
    default: Any = REQUIRED


Declaration = Mapping[str, Parameter]


class Attributes:
    """The values of a node's attributes; each is an attribute of this object too."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"The operator declares no attribute {name!r}.")

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)


def declare(**parameters: Parameter) -> dict[str, Parameter]:
    return parameters


def integer(default: Any = REQUIRED, *, optional: bool = False) -> Parameter:
    """An integer; or None, where that is the default or `optional`."""
    return Parameter("int", _optional(_integer, None if optional else default), default)


def number(default: Any = REQUIRED) -> Parameter:
    return Parameter("float", _optional(_number, default), default)


def boolean(default: Any = REQUIRED) -> Parameter:
    return Parameter("boolean", _optional(_boolean, default), default)


def text(default: Any = REQUIRED) -> Parameter:
    return Parameter("string", str, default)


def shape(default: Any = REQUIRED) -> Parameter:
    """A tuple of integers, or one integer for a tuple of one; None where `default` is None."""
    return Parameter("Shape(tuple)", _optional(_integers, default), default)


def sizes(default: Any = REQUIRED) -> Parameter:
    """A tuple of integers any of which may be None."""
    return Parameter("Shape(tuple)", _optional(_sizes, default), default)


def numbers(default: Any = REQUIRED) -> Parameter:
    return Parameter("tuple of <float>", _optional(_numbers, default), default)


def dtype(default: Any = REQUIRED) -> Parameter:
    """A dtype, by name or by MXNet's number; None where the text says so."""
    return Parameter("dtype", _dtype, None if default is None else _default_dtype(default))


def choice(options: Collection[str], default: Any = REQUIRED) -> Parameter:
    def read(text: str) -> str | None:
        if text == "None" and default is None:
            return None
        if text not in options:
            raise ValueError(f"expected one of {', '.join(sorted(options))}")
        return text

    return Parameter("{" + ", ".join(f"'{option}'" for option in options) + "}", read, default)


def parse(
    declaration: Declaration, attributes: Mapping[str, str], where: str, *, strict: bool = False
) -> Attributes:
    """The values of `attributes` by their declaration; what is not declared is ignored.

    Args:
        where: the operator and the node, for errors.
        strict: what is not declared is an error, but for names as `__this__`.

    Raises:
        MXNetError: a value is not of its type, or is missing.
    """
    values: dict[str, Any] = {}
    for name, parameter in declaration.items():
        given = attributes.get(name)
        if given is not None:
            values[name] = _value(name, parameter, given, where)
        elif parameter.default is REQUIRED:
            raise mxnet_error(
                _SOURCE,
                f"Required parameter {name} of {parameter.kind} is not presented, "
                f"in operator {where}",
            )
        else:
            values[name] = parameter.default
    if strict:
        for name in attributes:
            if name not in declaration and not (name.startswith("__") and name.endswith("__")):
                raise unknown(name, declaration, where)
    return Attributes(values)


def unknown(name: str, declaration: Declaration, where: str) -> MXNetError:
    """The error for an attribute that the operator does not have."""
    possible = "\n".join(f"{each} : {found.kind}" for each, found in declaration.items())
    return mxnet_error(
        _SOURCE,
        f"Cannot find argument '{name}', Possible Arguments:\n----------------\n{possible}\n"
        f", in operator {where}",
    )


def to_text(value: Any) -> str:
    """`value` as MXNet writes it into attributes."""
    if isinstance(value, list | tuple):
        items = ", ".join(to_text(item) for item in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, type | np.dtype):
        return np.dtype(value).name
    return str(value)


def _value(name: str, parameter: Parameter, given: str, where: str) -> Any:
    try:
        if len(given) > _MAX_TEXT and parameter.read is not str:
            raise ValueError("it is too long")
        return parameter.read(given.strip())
    except (ValueError, OverflowError) as error:
        raise mxnet_error(
            _SOURCE,
            f"Invalid Parameter format for {name} expect {parameter.kind} but value="
            f"'{given[:200]}', in operator {where}",
        ) from error


def _optional(read: Callable[[str], Any], default: Any) -> Callable[[str], Any]:
    if default is not None:
        return read
    return lambda text: None if text in ("None", "") else read(text)


def _integer(text: str) -> int:
    if text in ("True", "False"):
        return int(text == "True")
    value = int(text.removesuffix("L"))
    if not -_MAX_INTEGER <= value < _MAX_INTEGER:
        raise ValueError("out of range")
    return value


def _number(text: str) -> float:
    if text in ("True", "False"):
        return float(text == "True")
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return float(text.rstrip("fL") if text.lower().lstrip("+-") != "inf" else text)


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("true", "1"):
        return True
    if lowered in ("false", "0"):
        return False
    raise ValueError("neither true nor false")


def _items(text: str) -> list[str]:
    """The items of a tuple in any of the ways in which MXNet and Python write it."""
    for opening, closing in ("()", "[]"):
        if text.startswith(opening):
            if not text.endswith(closing):
                raise ValueError("no closing bracket")
            inner = [item.strip() for item in text[1:-1].split(",")]
            if inner[-1] == "":
                inner.pop()
            return inner
    return [text]


def _integers(text: str) -> tuple[int, ...]:
    return tuple(_whole(item) for item in _items(text))


def _whole(text: str) -> int:
    """An integer, also one that a script computed as a float."""
    try:
        return _integer(text)
    except ValueError:
        value = _number(text)
        if value != int(value):
            raise
        return int(value)


def _sizes(text: str) -> tuple[int | None, ...]:
    return tuple(None if item in ("None", "") else _whole(item) for item in _items(text))


def _numbers(text: str) -> tuple[float, ...]:
    if "(" in text[1:] or "[" in text[1:]:
        # One tuple for each of several inputs: `((1, 2), (3,))`.
        nested = ast.literal_eval(text)
        return tuple(float(item) for part in nested for item in part)
    return tuple(_number(item) for item in _items(text))


def _dtype(text: str) -> np.dtype[Any] | None:
    if text in ("None", "-1"):
        return None
    found = re.fullmatch(r"<class 'numpy\.(\w+)'>", text)
    name = found[1] if found else text
    if name.isdecimal():
        name = DTYPES.get(int(name), name)
    if name not in DTYPES.values():
        raise ValueError("no such dtype")
    return np.dtype(name)


def _default_dtype(default: Any) -> Any:
    return default if default is REQUIRED else np.dtype(default)
