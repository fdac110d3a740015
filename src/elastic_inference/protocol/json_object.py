"""JSON objects from outside."""

from __future__ import annotations

import json
from typing import Any

from elastic_inference.errors import InvalidRequestError

# The parser recurses in C, in some of Python's versions until a small thread's stack is used up.
# Tensors have at most 64 dimensions.
_MAX_DEPTH = 200
_PIECE = 1 << 20
# What tells how deep a text is nested, once escapes are gone; all else is passed over.
_STRUCTURE = b'"[]{}'
_FILLING = bytes(code for code in range(256) if code not in _STRUCTURE)


def parse_object(raw: bytes, what: str = "The request") -> dict[str, Any]:
    """The JSON object in `raw`, whose strings are all text that can be encoded.

    Raises:
        InvalidRequestError: it is none, or one of more than 200 levels.
    """
    try:
        text = raw.decode()
        if is_deep(raw):
            raise ValueError("it is nested too deeply")
        document = json.loads(text)
        if "\\u" in text:
            # Half of a surrogate pair passes the parser and no encoder.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{what} is not JSON: {str(error)[:200]}.") from None
    if not isinstance(document, dict):
        raise InvalidRequestError(f"{what} must be a JSON object.")
    return document


def is_deep(raw: bytes) -> bool:
    """Whether a JSON text has more than 200 levels; of one that is none it says anything."""
    if raw.count(b"[") + raw.count(b"{") <= _MAX_DEPTH:
        return False
    # Small objects never get here, so what only reads those does without numpy.
    import numpy as np  # noqa: PLC0415

    # Every quotation mark that is left begins or ends a string.
    bare = raw.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in raw else raw
    codes = np.frombuffer(bare.translate(None, _FILLING), np.uint8)
    quoted = level = 0
    for begin in range(0, len(codes), _PIECE):
        piece = codes[begin : begin + _PIECE]
        inside = (np.cumsum(piece == ord('"')) + quoted) & 1
        # The codes of [ and {, and those of ] and }, differ in this bit alone.
        kind = piece | 0x20
        steps = ((kind == ord("{")).astype(np.int64) - (kind == ord("}"))) * (1 - inside)
        levels = np.cumsum(steps) + level
        if levels.max() > _MAX_DEPTH:
            return True
        quoted, level = int(inside[-1]), int(levels[-1])
    return False
