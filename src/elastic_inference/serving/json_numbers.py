"""Large arrays of numbers in JSON text, read without a step of Python's for each number.

They are cut out of the text and read apart; what is left of it is read as usual. Whatever is
not plainly a rectangular array of usual numbers stays in the text, and is judged there.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from dataclasses import dataclass

import numpy as np

from elastic_inference.protocol.tensors import Array

_SMALLEST = 1024
_BLOCK = 1 << 16
_MAX_RANK = 32
# By character: whether it may be before or behind a list.
_BEFORE = np.isin(np.arange(256), list(b"[, "))
_BEHIND = np.isin(np.arange(256), list(b",]"))
# Where more than one number of so many has an exponent, the usual way is as fast.
_FEW = 16
_POWER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?e[+-]?[0-9]+")
_NUMERIC = b"0123456789+-.eE"
# Eight digits at a time are read out of 64 bits; three times eight are enough for any double.
_WORD = 8
_WORDS = 3
# A mantissa with a larger part above 16 digits does not fit 64 bits.
_MOST_ABOVE = 1843
# The powers of ten that are doubles.
_POWERS = 10.0 ** np.arange(23)
_EXACT = 2**53
# What stands in the text for an array that was cut out; nobody else can mean the same.
_MARK = f"array {secrets.token_hex(16)} "


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array of numbers that was cut out of a text.

    Attributes:
        values: int64 if all are written as integers, else float64.
        text: the numbers between commas, where some of `values` may be off by a last bit.
    """

    values: Array
    text: bytes | None = None

    def doubles(self) -> Array:
        """The values as float64, each the nearest one to what is written."""
        if self.text is None:
            return self.values.astype(np.float64, copy=False)
        flat = np.array(json.loads(b"[" + self.text + b"]"), np.float64)
        return flat.reshape(self.values.shape)


def cut(text: bytes) -> tuple[bytes, dict[str, Numbers]]:
    """`text` with strings in the place of large arrays of numbers, and these by their strings."""
    if len(text) < _SMALLEST or b"\\" in text:
        return text, {}
    found: dict[str, Numbers] = {}
    pieces = []
    at = done = quotes = 0
    ends = {quote: text.find(quote) for quote in (b'"', b"{", b"}")}
    while True:
        begin = text.find(b"[", at)
        if begin < 0:
            break
        for mark, end in ends.items():
            if 0 <= end < begin:
                ends[mark] = text.find(mark, begin)
        end = min((each for each in ends.values() if each >= 0), default=len(text))
        quotes += text.count(b'"', at, begin)
        at = end
        if end - begin < _SMALLEST or quotes % 2:
            continue
        end = text.rfind(b"]", begin, end) + 1
        numbers = read(text[begin:end])
        if numbers is not None:
            key = f"{_MARK}{len(found)}"
            found[key] = numbers
            pieces += [text[done:begin], b'"', key.encode(), b'"']
            done = end
    return b"".join((*pieces, text[done:])), found


def read(text: bytes) -> Numbers | None:
    """The array in `text`, or None where it is no rectangular array of usual numbers."""
    if not _is_plain(text):
        return None
    shape = _shape(text.translate(None, _NUMERIC + b" "))
    if shape is None:
        return None
    flat = text.translate(None, b"[] ")
    numbers = _joined(flat) or _usual(flat)
    if numbers is None or numbers.values.size != math.prod(shape):
        return None
    return Numbers(numbers.values.reshape(shape), numbers.text)


def _is_plain(text: bytes) -> bool:
    """Spaces follow commas, one each; numbers are neither before nor behind lists."""
    chars = np.frombuffer(text, np.uint8)
    for at in range(0, len(chars), _BLOCK):
        block = chars[at : at + _BLOCK + 1]
        first, second = block[:-1], block[1:]
        before_spaces = first[second == ord(" ")]
        before_lists = first[second == ord("[")]
        behind_lists = second[first == ord("]")]
        wrong = (
            (before_spaces != ord(",")).any()
            # A list follows a comma, its space, or the beginning of the list around it.
            or not _BEFORE[before_lists].all()
            or not _BEHIND[behind_lists].all()
        )
        if wrong:
            return False
    return True


def _joined(flat: bytes) -> Numbers | None:
    """Numbers between commas, read block by block: what is at work stays in the nearest cache."""
    blocks = []
    at = 0
    while at <= len(flat):
        end = flat.find(b",", at + _BLOCK)
        end = len(flat) if end < 0 else end
        numbers = _read_flat(flat[at:end])
        if numbers is None:
            return None
        blocks.append(numbers)
        at = end + 1
    if all(each.values.dtype == np.int64 for each in blocks):
        return Numbers(np.concatenate([each.values for each in blocks]))
    is_exact = all(each.text is None and _is_exact(each.values) for each in blocks)
    values = np.concatenate([each.values.astype(np.float64, copy=False) for each in blocks])
    return Numbers(values, None if is_exact else flat)


def _is_exact(values: Array) -> bool:
    """Whether these are doubles, too."""
    return values.dtype == np.float64 or int(np.abs(values).max()) <= _EXACT


def _usual(flat: bytes) -> Numbers | None:
    """The numbers as the standard library reads them."""
    try:
        values = np.array(json.loads(b"[" + flat + b"]"))
    except (ValueError, OverflowError, RecursionError):
        return None
    # Integers that are too large for one type become decimals in numpy, which they are not.
    is_whole = not any(mark in flat for mark in b".eE")
    return Numbers(values) if values.dtype == (np.int64 if is_whole else np.float64) else None


def _shape(skeleton: bytes) -> tuple[int, ...] | None:
    """The shape of a text of which nothing but brackets and commas is left."""
    rank = len(skeleton) - len(skeleton.lstrip(b"["))
    if not 0 < rank <= _MAX_RANK:
        return None
    unit = b""
    sizes = []
    for level in range(rank - 1, -1, -1):
        closing = b"]" * (rank - level)
        end = skeleton.find(closing, level)
        if end < 0:
            return None
        length = end + len(closing) - level
        # In an array of n units there are n - 1 commas and two brackets.
        count, rest = divmod(length - 1, len(unit) + 1)
        if rest or count < 1:
            return None
        unit = b"[" + b",".join([unit] * count) + b"]"
        if unit != skeleton[level : level + length]:
            return None
        sizes.append(count)
    return tuple(reversed(sizes)) if unit == skeleton else None


def _read_flat(flat: bytes) -> Numbers | None:
    """Numbers between commas, of which few have exponents."""
    if not flat:
        return None
    chars = np.frombuffer(flat, np.uint8)
    commas = np.flatnonzero(chars == ord(","))
    ends = np.append(commas, len(chars))
    starts = np.concatenate(([0], commas + 1))
    if b"e" not in flat and b"E" not in flat:
        return _read_plain(flat, starts, ends)
    marks = np.flatnonzero((chars | 0x20) == ord("e"))
    if len(marks) > len(ends) // _FEW:
        return None
    plain = bytearray(flat)
    powers = []
    owners = np.searchsorted(ends, marks)
    for begin, end in zip(starts[owners].tolist(), ends[owners].tolist(), strict=True):
        word = flat[begin:end]
        if not _POWER.fullmatch(word):
            return None
        powers.append(float(word))
        # A zero of the same size keeps all others where they are.
        plain[begin:end] = b"0." + b"0" * (len(word) - 2)
    numbers = _read_plain(bytes(plain), starts, ends)
    if numbers is None:
        return None
    values = numbers.values.astype(np.float64, copy=False)
    values[owners] = powers
    return Numbers(values, flat)


def _read_plain(flat: bytes, starts: Array, ends: Array) -> Numbers | None:
    """Numbers without exponents."""
    chars = np.frombuffer(flat, np.uint8)
    negative = chars[np.minimum(starts, len(chars) - 1)] == ord("-")
    starts = starts + negative
    points = _points(chars, starts, ends) if b"." in flat else ends
    # The alphabet is that of numbers: with these signs counted, all else is a digit.
    if points is None or b"+" in flat or flat.count(b"-") != np.count_nonzero(negative):
        return None
    whole = points - starts
    behind = ends - points - (points < ends)
    # A number begins with a digit, and with a zero only where that is all before the point; a
    # point has digits behind it.
    leading = chars[np.minimum(starts, len(chars) - 1)] == ord("0")
    wrong = (whole < 1) | ((whole > 1) & leading) | ((points < ends) & (behind < 1))
    if wrong.any() or behind.max() >= len(_POWERS):
        return None
    mantissas = _mantissas(flat.translate(None, b".,-"), whole + behind)
    if mantissas is None:
        return None
    return _numbers(mantissas, negative, behind, flat, is_whole=points is ends)


def _points(chars: Array, starts: Array, ends: Array) -> Array | None:
    """Where each number's point is, or its end if it has none."""
    found = np.flatnonzero(chars == ord("."))
    if len(found) == len(ends):
        return found if ((starts <= found) & (found < ends)).all() else None
    owners = np.searchsorted(ends, found)
    if len(found) > 1 and (owners[1:] == owners[:-1]).any():
        return None
    points = ends.copy()
    points[owners] = found
    return points


def _mantissas(digits: bytes, sizes: Array) -> Array | None:
    """`uint64[n]` of numbers of so many digits that follow each other."""
    largest = int(sizes.max())
    if largest > _WORDS * _WORD:
        return None
    padding = _WORDS * _WORD
    text = b"".join((b"0" * padding, digits, b"0" * (2 * _WORD - len(digits) % _WORD)))
    words = np.frombuffer(text, np.uint64)
    ends = np.cumsum(sizes) + padding
    total = np.zeros(len(sizes), np.uint64)
    for index in range(-(-largest // _WORD)):
        packed = _eight_bytes(words, ends - _WORD * (index + 1))
        # What is before the number belongs to another one.
        foreign = np.clip(_WORD * (index + 1) - sizes, 0, _WORD).astype(np.uint64) * np.uint64(8)
        values = _eight_digits(packed >> foreign << foreign)
        if index == 2 and values.max() > _MOST_ABOVE:
            return None
        total += values * np.uint64(10 ** (_WORD * index))
    return total


def _eight_bytes(words: Array, at: Array) -> Array:
    """The bytes from each of these places on, out of two words."""
    index = at >> 3
    shift = ((at & 7) * 8).astype(np.uint64)
    # Shifted by all of its bits a word is 0.
    packed: Array = (words[index] >> shift) | (words[index + 1] << (np.uint64(64) - shift))
    return packed


def _eight_digits(packed: Array) -> Array:
    """Numbers of eight digits, the first one in the lowest byte: pairs, fours, eights."""
    packed &= np.uint64(0x0F0F0F0F0F0F0F0F)
    packed = packed * np.uint64(10 * 2**8 + 1) >> np.uint64(8)
    packed = (packed & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(100 * 2**16 + 1) >> np.uint64(16)
    return (packed & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(10**4 * 2**32 + 1) >> np.uint64(32)


def _numbers(
    mantissas: Array, negative: Array, behind: Array, flat: bytes, *, is_whole: bool
) -> Numbers | None:
    largest = int(mantissas.max())
    if is_whole:
        if largest > np.iinfo(np.int64).max:
            return None
        integers = mantissas.view(np.int64)
        return Numbers(np.where(negative, -integers, integers))
    values = mantissas.astype(np.float64) / _POWERS[behind]
    values = np.where(negative, -values, values)
    return Numbers(values, flat if largest > _EXACT else None)
