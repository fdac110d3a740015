"""`Content-Range: bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4), as uploads use it.

`bytes */TOTAL` is an empty part at the end: it asks for nothing but that the whole be checked.
"""

from __future__ import annotations

import re

from elastic_inference.errors import InvalidRequestError

_RANGE = re.compile(rb"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})")


def parse_content_range(value: bytes) -> tuple[int, int]:
    """The offset of the part and the size of the whole, in bytes.

    Raises:
        InvalidRequestError: absent, malformed or inconsistent.
    """
    match = _RANGE.fullmatch(value)
    if match is None:
        raise InvalidRequestError("An upload needs Content-Range: bytes FIRST-LAST/TOTAL.")
    total = int(match[3])
    if match[1] is None:
        return total, total
    first, last = int(match[1]), int(match[2])
    if not first <= last < total:
        raise InvalidRequestError("The Content-Range does not fit itself.")
    return first, total


def format_content_range(first: int, size: int, total: int) -> str:
    """The field's value for `size` bytes at `first` of `total`."""
    span = f"{first}-{first + size - 1}" if size else "*"
    return f"bytes {span}/{total}"
