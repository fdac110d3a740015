"""Values of options: accelerator types with counts, tags, times, files."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from elastic_inference.errors import InvalidRequestError
from elastic_inference.settings import parse_duration

_MOST = 100
_DAY = 86400.0
# Smaller numbers are years or lengths of time that were left without a unit.
_EARLIEST = 1e8
_SHOWN = 80


def types(text: str) -> list[str]:
    """One name for each accelerator of `TYPE[:N][,TYPE...]`.

    Raises:
        InvalidRequestError: a count is none.
    """
    found: list[str] = []
    for each in text.split(","):
        name, colon, count = (part.strip() for part in each.partition(":"))
        if not colon:
            count = "1"
        if not (count.isascii() and count.isdigit() and 1 <= int(count[:4]) <= _MOST):
            raise InvalidRequestError(
                f"--accelerator {each.strip()[:_SHOWN]!r}: a count is from 1 to {_MOST}.",
                next_step="Write eia1.medium:2 for two of them.",
            )
        if name:
            found += [name] * int(count)
    return found


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """The values of KEY=VALUE arguments by their keys.

    Raises:
        InvalidRequestError: one has no key or no =.
    """
    found = {}
    for each in texts:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise InvalidRequestError(
                f"{option} {each[:_SHOWN]!r} is not KEY=VALUE.", next_step=f"Write {option} a=b."
            )
        found[key] = value
    return found


def duration(text: str, option: str, least: float = 1.0) -> float:
    """Seconds.

    Raises:
        InvalidRequestError: it is no length of time, or shorter than `least`.
    """
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InvalidRequestError(
            f"{option} {text[:_SHOWN]!r}: {error}.", next_step="Write it as 30min or 8h."
        ) from None
    if seconds < least:
        raise InvalidRequestError(
            f"{option} {text[:_SHOWN]!r}: it must be {least:g} s or more.",
            next_step="Write it as 30min or 8h.",
        )
    return seconds


def moment(text: str | None, option: str) -> float | None:
    """The Unix time that a user means; None for None.

    Raises:
        InvalidRequestError: it is no time.
    """
    if text is None:
        return None
    text = text.strip()
    if text == "now":
        return time.time()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and float(text) >= _EARLIEST:
        return float(text)
    if (match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h|d)", text)) is not None:
        return time.time() - _ago(float(match[1]), match[2])
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].+)?", text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            pass
    raise InvalidRequestError(
        f"{option} {text[:_SHOWN]!r} is no time.",
        next_step="Write 2026-11-01, 2026-11-01T10:00, Unix seconds, or 2h, 30min or 7d ago.",
    )


def _ago(number: float, unit: str) -> float:
    return number * {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": _DAY}[unit]


def content(name: str, what: str) -> str:
    """The text of a file, or of standard input where it is `-`.

    Raises:
        InvalidRequestError: it cannot be read, or is no text.
    """
    try:
        if name == "-":
            return sys.stdin.buffer.read().decode()
        return Path(name).read_bytes().decode()
    except OSError as error:
        why = error.strerror or str(error)
    except UnicodeDecodeError:
        why = "it is no text in UTF-8"
    raise InvalidRequestError(f"{what} {name!r} cannot be read: {why}.", next_step="Name a file.")
