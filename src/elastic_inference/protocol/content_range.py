"""`Content-Range: bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4), as uploads use it."""

from __future__ import annotations

import re

from elastic_inference.errors import InvalidRequestError

_RANGE = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


def parse_content_range(value: bytes) -> tuple[int, int]:
    """The offset of the part and the size of the whole, in bytes.

    Raises:
        InvalidRequestError: absent, malformed or inconsistent.
    """
    match = _RANGE.fullmatch(value)
    if match is None:
        raise InvalidRequestError("An upload needs Content-Range: bytes FIRST-LAST/TOTAL.")
    first, last, total = (int(group) for group in match.groups())
    if not first <= last < total:
        raise InvalidRequestError("The Content-Range does not fit itself.")
    return first, total


def format_content_range(first: int, size: int, total: int) -> str:
    """The field's value for `size` bytes at `first` of `total`."""
    return f"bytes {first}-{first + size - 1}/{total}"
