"""Tags as EC2 has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.aws.call import Call
from elastic_inference.aws.errors import AwsError

MAX_TAGS = 50
_RESERVED = "aws:"


def given(call: Call, resource_type: str) -> dict[str, str]:
    """The tags of `TagSpecifications`.

    Raises:
        AwsError: they are none, or of another resource.
    """
    found: dict[str, str] = {}
    for each in call.input.get("TagSpecifications", ()):
        kind = each.get("ResourceType", "")
        if kind != resource_type:
            raise AwsError(
                "InvalidParameterValue",
                f"'{kind}' is not a valid taggable resource type for this operation.",
            )
        found.update(read(each.get("Tags", ())))
    _check_count(found)
    return found


def read(tags: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Keys and values of a list of tags.

    Raises:
        AwsError: there are too many, or one is none.
    """
    found: dict[str, str] = {}
    for each in tags:
        key, value = each.get("Key", ""), each.get("Value", "")
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise AwsError(
                "InvalidParameterValue",
                f"Tag {key[:64]!r}: keys have 1 to 128 characters, values up to 256.",
            )
        if key.lower().startswith(_RESERVED):
            raise AwsError(
                "InvalidParameterValue",
                f"Tag keys starting with '{_RESERVED}' are reserved for internal use",
            )
        if key in found:
            raise AwsError("InvalidParameterValue", f"Duplicate tag key {key!r} specified.")
        found[key] = value
    _check_count(found)
    return found


def _check_count(found: Mapping[str, str]) -> None:
    if len(found) > MAX_TAGS:
        raise AwsError("TagLimitExceeded", f"A resource has up to {MAX_TAGS} tags.")


def shown(tags: Mapping[str, str]) -> list[dict[str, str]] | None:
    """Tags in an answer; None where there are none."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())] or None
