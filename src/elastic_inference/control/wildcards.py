"""Patterns with `*` and `?`, and the policy variables in them.

A text is matched in time that grows with its length times that of the pattern at worst, in C:
nothing backtracks past a `*`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Context: TypeAlias = Mapping[str, tuple[str, ...]]
"""The values of a request's context by their keys in lower case."""

_WILD = re.compile(r"[*?]")
_VARIABLE = re.compile(
    r"\$\{(?:(?P<literal>[*?$])"
    r"|(?P<name>[^{},'*?$\s](?:[^{},'*?$]*[^{},'*?$\s])?)(?:, *'(?P<default>[^'{}]*)')?)\}"
)


@dataclass(frozen=True, slots=True)
class Wild:
    """A `*` or a `?`."""

    mark: Literal["*", "?"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A value of the request's context, as `${aws:username}` or `${aws:username, 'nobody'}`."""

    name: str
    default: str | None

    def resolve(self, context: Context) -> str | None:
        """Its value, or None; a key with several values has no one value."""
        values = context.get(self.name, ())
        return values[0] if len(values) == 1 else self.default


STAR = Wild("*")
ONE = Wild("?")
Piece: TypeAlias = str | Wild | Variable


def split(text: str, *, wildcards: bool = True, variables: bool = False) -> tuple[Piece, ...]:
    """The pieces of a pattern.

    Raises:
        ValueError: a `${` opens no policy variable.
    """
    pieces: list[Piece] = []
    at = 0
    while variables and (start := text.find("${", at)) >= 0:
        match = _VARIABLE.match(text, start)
        if match is None:
            raise ValueError(text[start:])
        pieces += _plain(text[at:start], wildcards)
        if match["literal"]:
            pieces.append(match["literal"])
        else:
            pieces.append(Variable(match["name"].lower(), match["default"]))
        at = match.end()
    pieces += _plain(text[at:], wildcards)
    return tuple(pieces)


def _plain(text: str, wildcards: bool) -> list[Piece]:
    if not wildcards:
        return [text] if text else []
    pieces: list[Piece] = []
    at = 0
    for match in _WILD.finditer(text):
        if match.start() > at:
            pieces.append(text[at : match.start()])
        pieces.append(STAR if match[0] == "*" else ONE)
        at = match.end()
    return [*pieces, text[at:]] if at < len(text) else pieces


def resolve(pieces: Sequence[Piece], context: Context) -> list[str | Wild] | None:
    """The pieces with every variable's value, which is no pattern; None where one has none."""
    resolved: list[str | Wild] = []
    for piece in pieces:
        value = piece.resolve(context) if isinstance(piece, Variable) else piece
        if value is None:
            return None
        resolved.append(value)
    return resolved


class Glob:
    """Matches a whole text."""

    __slots__ = ("_first", "_last", "_least", "_middle")

    def __init__(self, pieces: Iterable[str | Wild]) -> None:
        runs: list[list[str | Wild]] = [[]]
        for piece in pieces:
            if piece == STAR:
                runs.append([])
            else:
                runs[-1].append(piece)
        segments = [_Segment(run) for run in runs]
        self._first = segments[0]
        self._last = segments[-1] if len(segments) > 1 else None
        self._middle = tuple(each for each in segments[1:-1] if each.length)
        self._least = sum(each.length for each in segments)

    def __call__(self, text: str) -> bool:
        if self._last is None:
            return len(text) == self._least and self._first.at(text, 0)
        end = len(text) - self._last.length
        if len(text) < self._least or not self._first.at(text, 0) or not self._last.at(text, end):
            return False
        at = self._first.length
        for segment in self._middle:
            found = segment.find(text, at, end)
            if found < 0:
                return False
            at = found + segment.length
        return True


class _Segment:
    """What stands between two stars; its length is fixed, so the first place found will do."""

    __slots__ = ("_pattern", "_text", "length")

    def __init__(self, run: Sequence[str | Wild]) -> None:
        self.length = sum(len(piece) if isinstance(piece, str) else 1 for piece in run)
        self._text = ""
        self._pattern: re.Pattern[str] | None = None
        if ONE in run:
            source = "".join(re.escape(each) if isinstance(each, str) else "." for each in run)
            self._pattern = re.compile(source, re.DOTALL)
        else:
            self._text = "".join(each for each in run if isinstance(each, str))

    def at(self, text: str, at: int) -> bool:
        if self._pattern is None:
            return text.startswith(self._text, at)
        return self._pattern.match(text, at) is not None

    def find(self, text: str, at: int, end: int) -> int:
        if self._pattern is None:
            return text.find(self._text, at, end)
        match = self._pattern.search(text, at, end)
        return -1 if match is None else match.start()


def compile_pattern(
    pieces: Sequence[Piece], *, unresolved: bool = False
) -> Callable[[str, Context], bool]:
    """What tells whether a text matches; with no variable in it, it is made once.

    Args:
        unresolved: the answer where a variable has no value.
    """
    fixed = [piece for piece in pieces if not isinstance(piece, Variable)]
    if len(fixed) == len(pieces):
        glob = Glob(fixed)
        return lambda text, _: glob(text)

    def matches(text: str, context: Context) -> bool:
        resolved = resolve(pieces, context)
        return unresolved if resolved is None else Glob(resolved)(text)

    return matches


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text is what the pattern describes; the case counts."""
    return Glob(piece for piece in split(pattern) if not isinstance(piece, Variable))(text)
