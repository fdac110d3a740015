"""IAM's errors, in its own words, and its lists in pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from elastic_inference.aws import errors
from elastic_inference.aws.call import Call, Document
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.pages import page
from elastic_inference.control import policy
from elastic_inference.errors import InvalidRequestError

T = TypeVar("T")
PAGE = "Marker MaxItems"
"""The parameters of `listed`."""
_USUAL, _MOST = 100, 1000


def no_such(what: str, name: str) -> AwsError:
    """There is no such user, role, instance profile, …."""
    return AwsError("NoSuchEntity", f"The {what} with name {name} cannot be found.", 404)


def no_such_policy(arn: str) -> AwsError:
    return AwsError("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", 404)


def exists(what: str, name: str) -> AwsError:
    """There is one already."""
    return AwsError("EntityAlreadyExists", f"{what} with name {name} already exists.", 409)


def in_use(what: str) -> AwsError:
    """It cannot be deleted yet; `what` says what must be done first."""
    return AwsError("DeleteConflict", f"Cannot delete entity, must {what} first.", 409)


def too_many(quota: str, most: int) -> AwsError:
    """There are as many as there may be."""
    return AwsError("LimitExceeded", f"Cannot exceed quota for {quota}: {most}", 409)


def invalid_input(message: str) -> AwsError:
    return AwsError("InvalidInput", message)


def check_document(name: str, text: str, *, trust: bool = False) -> str:
    """A policy document that is one.

    Raises:
        AwsError: it is none.
    """
    try:
        policy.parse(text, name=name, trust=trust)
    except InvalidRequestError as error:
        raise AwsError("MalformedPolicyDocument", errors.said(error)) from None
    return text


def check_path(call: Call) -> None:
    """Refuse a path: everything of a pool is at the root.

    Raises:
        AwsError: `Path` is another one.
    """
    if call.input.get("Path", "/") != "/":
        raise errors.unsupported("Users, roles, policies and profiles of a pool have the Path /.")


def below(call: Call, path: str = "/") -> bool:
    """Whether a path is below the one that is asked for."""
    return path.startswith(str(call.input.get("PathPrefix", "/")))


def listed(
    call: Call,
    name: str,
    items: Sequence[T],
    key: Callable[[T], Any],
    show: Callable[[T], Any],
    *,
    usual: int = _USUAL,
    most: int = _MOST,
) -> Document:
    """One page of items as the list `name` of a result.

    Raises:
        AwsError: `Marker` is none of this operation's.
    """
    found, marker = page(
        items, call, key,
        size="MaxItems", most=min(most, _MOST), usual=usual, code="ValidationError",
        token="Marker",  # noqa: S106 - a parameter's name
    )  # fmt: skip
    return {
        name: [show(each) for each in found],
        "IsTruncated": marker is not None,
        "Marker": marker,
    }
