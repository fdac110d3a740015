"""JSON objects from outside."""

from __future__ import annotations

import json
from typing import Any

from elastic_inference.errors import InvalidRequestError


def parse_object(raw: bytes, what: str = "The request") -> dict[str, Any]:
    """The JSON object in `raw`, whose strings are all text that can be encoded.

    Raises:
        InvalidRequestError: it is none.
    """
    try:
        document = json.loads(raw)
        if b"\\u" in raw:
            # Half of a surrogate pair passes the parser and no encoder.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{what} is not JSON: {str(error)[:200]}.") from None
    if not isinstance(document, dict):
        raise InvalidRequestError(f"{what} must be a JSON object.")
    return document
