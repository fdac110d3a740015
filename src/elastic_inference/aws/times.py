"""Times on the wire: Unix seconds here, ISO 8601 or numbers there."""

from __future__ import annotations

import datetime as dt
import email.utils

# Of the years that can be written.
_LEAST, _MOST = -62135596800.0, 253402300799.0


def parse(text: str) -> float:
    """Unix seconds of a time in ISO 8601, RFC 822 or seconds.

    Raises:
        ValueError: it is none of them.
    """
    text = text.strip()
    try:
        return bounded(float(text))
    except ValueError:
        pass
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        found = email.utils.parsedate_to_datetime(text)
    return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()


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
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
