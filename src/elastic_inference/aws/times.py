"""Times on the wire: Unix seconds here, ISO 8601 or numbers there."""

from __future__ import annotations

import datetime as dt
import email.utils
import re

# Of the years that can be written.
_LEAST, _MOST = -62135596800.0, 253402300799.0
_SECONDS = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_LONGEST = 64


def parse(text: str) -> float:
    """Unix seconds of a time in ISO 8601, RFC 822 or seconds.

    Raises:
        ValueError: it is none of them.
    """
    text = text.strip()
    if not text.isascii() or len(text) > _LONGEST:
        raise ValueError(text[:_LONGEST])
    if _SECONDS.fullmatch(text):
        return bounded(float(text))
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        found = email.utils.parsedate_to_datetime(text)
    return bounded((found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp())


def bounded(seconds: float) -> float:
    """The time, if it can be written.

    Raises:
        ValueError: it cannot.
    """
    if not _LEAST <= seconds <= _MOST:
        raise ValueError(seconds)
    return seconds


def iso(seconds: float) -> str:
    """As EC2 writes them: in UTC, to the millisecond."""
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"
