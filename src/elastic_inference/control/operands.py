"""What condition operators compare with: operands of policies, read once, and values of requests.

Each `…_test` gives, for one operand as it stands in a policy, what tells whether one value of a
request meets it. It raises ValueError with what is wrong with the operand. A value of a request
that is not of the operator's kind meets nothing.
"""

from __future__ import annotations

import base64
import binascii
import functools
import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeAlias

from elastic_inference.control import arns
from elastic_inference.control.wildcards import (
    Context,
    Glob,
    Piece,
    Variable,
    Wild,
    compile_pattern,
    resolve,
    split,
)

Test: TypeAlias = Callable[[str, Context], bool]
Order: TypeAlias = Callable[[Any, Any], bool]

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?")
_DATE = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?)?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?)?)?"
)
_EPOCH = re.compile(r"[0-9]{5,12}(?:\.[0-9]{1,9})?")
_1970 = datetime(1970, 1, 1, tzinfo=UTC)
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def text_test(operand: str, variables: bool) -> Test:
    """Equal texts."""
    return compile_pattern(_pieces(operand, variables, wildcards=False))


def folded_test(operand: str, variables: bool) -> Test:
    """Texts equal but for the case of their letters."""
    pieces = _pieces(operand, variables, wildcards=False)

    def test(value: str, context: Context) -> bool:
        resolved = resolve(pieces, context)
        if resolved is None:
            return False
        return "".join(str(each) for each in resolved).lower() == value.lower()

    return test


def pattern_test(operand: str, variables: bool) -> Test:
    """A text like a pattern."""
    return compile_pattern(_pieces(operand, variables, wildcards=True))


def arn_test(operand: str, variables: bool) -> Test:
    """An ARN of which each part is like that of a pattern."""
    pieces = _pieces(operand, variables, wildcards=True)
    if not any(isinstance(piece, Variable) for piece in pieces):
        if why := arns.why_malformed(operand):
            raise ValueError(why)
        globs = _part_globs(resolve(pieces, {}) or [])
        return lambda value, _: _parts_match(globs, value)

    def test(value: str, context: Context) -> bool:
        resolved = resolve(pieces, context)
        return resolved is not None and _parts_match(_part_globs(resolved), value)

    return test


def number_test(operand: str, order: Order) -> Test:
    """A number in that order to the operand."""
    wanted = _number(operand)
    if wanted is None:
        raise ValueError("It is no number, such as 10 or 2.5.")

    def test(value: str, _: Context) -> bool:
        number = _number(value)
        return number is not None and order(number, wanted)

    return test


def date_test(operand: str, order: Order) -> Test:
    """A date in that order to the operand."""
    wanted = _seconds(operand)
    if wanted is None:
        raise ValueError(
            "It is no date, such as 2026-11-01T00:00:00Z, nor seconds since 1970, such as "
            "1793491200."
        )

    def test(value: str, _: Context) -> bool:
        seconds = _seconds(value)
        return seconds is not None and order(seconds, wanted)

    return test


def truth(operand: str) -> str:
    """`true` or `false`, whatever its case."""
    if operand.lower() not in {"true", "false"}:
        raise ValueError("It is neither true nor false.")
    return operand.lower()


def truth_test(operand: str) -> Test:
    """The same truth."""
    wanted = truth(operand)
    return lambda value, _: value.lower() == wanted


def binary_test(operand: str) -> Test:
    """The same bytes, in Base64 on both sides."""
    wanted = _decoded(operand)
    if wanted is None:
        raise ValueError("It is not Base64.")
    return lambda value, _: _decoded(value) == wanted


def address_test(operand: str) -> Test:
    """An address in the operand's network, of which IPv4 and IPv6 have each their own."""
    network = _network(operand)
    if network is None:
        raise ValueError("It is neither an IP address nor a network such as 203.0.113.0/24.")

    def test(value: str, _: Context) -> bool:
        address = _address(value)
        return address is not None and address in network

    return test


def _pieces(operand: str, variables: bool, *, wildcards: bool) -> tuple[Piece, ...]:
    try:
        return split(operand, wildcards=wildcards, variables=variables)
    except ValueError:
        raise ValueError("A ${ in it opens no policy variable, such as ${aws:username}.") from None


def _part_globs(pieces: list[str | Wild]) -> list[Glob]:
    parts: list[list[str | Wild]] = [[]]
    for piece in pieces:
        if isinstance(piece, Wild):
            parts[-1].append(piece)
            continue
        first, *rest = piece.split(":", arns.PARTS - len(parts))
        parts[-1].append(first)
        parts.extend([each] for each in rest)
    return [Glob(part) for part in parts]


def _parts_match(globs: list[Glob], value: str) -> bool:
    parts = value.split(":", arns.PARTS - 1)
    if len(parts) != arns.PARTS:
        return False
    if len(globs) < arns.PARTS:
        # The last part of a shortened pattern ends with a star: it covers what is left.
        parts = [*parts[: len(globs) - 1], ":".join(parts[len(globs) - 1 :])]
    return all(glob(part) for glob, part in zip(globs, parts, strict=True))


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


@functools.lru_cache(256)
def _seconds(text: str) -> float | None:
    if _EPOCH.fullmatch(text):
        return float(text)
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = int(match["year"]), int(match["month"] or 1), int(match["day"] or 1)
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=_zone(match["zone"]))
    except ValueError:
        return None
    return (moment - _1970).total_seconds() + float(f"0.{match['fraction'] or 0}")


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


@functools.lru_cache(1024)
def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
