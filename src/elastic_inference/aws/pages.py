"""Long results in pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from elastic_inference.aws.call import Call
from elastic_inference.aws.errors import AwsError

T = TypeVar("T")


def page(
    items: Sequence[T],
    call: Call,
    key: Callable[[T], Any],
    *,
    token: str = "NextToken",  # noqa: S107 - a parameter's name
    size: str = "MaxResults",
    most: int = 1000,
    usual: int | None = None,
    code: str = "InvalidNextToken",
) -> tuple[list[T], str | None]:
    """One page of `items`, and the token of the next one.

    Args:
        key: what tells items apart, of JSON's types; items are in the order of their keys.
        token, size: the parameters that say which page it is.
        most: items of the largest page; more are asked for in vain.
        usual: items of a page for which no size is asked; None: `most`.
        code: of the error for a token that is none.

    Raises:
        AwsError: the token is none of this operation's, or there are no such pages.
    """
    count = min(call.input.get(size) or usual or most, most)
    if count < 1:
        raise AwsError(
            "InvalidParameterValue" if size == "MaxResults" else "ValidationError",
            f"Value ({count}) for parameter {size} is invalid. It must be greater than 0.",
        )
    ordered = sorted(items, key=key)
    if call.input.get(token):
        after = _read(call, call.input[token], code)
        try:
            ordered = [each for each in ordered if key(each) > after]
        except TypeError:
            raise _bad(code) from None
    if len(ordered) <= count:
        return ordered, None
    text = json.dumps([call.operation, key(ordered[count - 1])])
    return ordered[:count], base64.urlsafe_b64encode(text.encode()).decode()


def _read(call: Call, text: str, code: str) -> Any:
    try:
        operation, after = json.loads(base64.urlsafe_b64decode(text.encode()))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _bad(code) from None
    if operation != call.operation:
        raise _bad(code)
    return tuple(after) if isinstance(after, list) else after


def _bad(code: str) -> AwsError:
    return AwsError(code, "The token is none of this operation's. Begin with the first page.")
