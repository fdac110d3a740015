"""Where the statements of a policy stand in its text."""

from __future__ import annotations

import json
from dataclasses import dataclass

from elastic_inference.control.json_positions import read
from elastic_inference.control.policy import DEEPEST


@dataclass(frozen=True, slots=True)
class Span:
    """From a line and column, counted from 1, to the place behind its end."""

    line: int
    column: int
    end_line: int
    end_column: int


def spans(text: str) -> list[Span]:
    """The place of each statement, in their order."""
    root = read(text, "policy", deepest=DEEPEST)
    found = []
    for node in root.take(dict)["Statement"].items():
        _, end = json.JSONDecoder().raw_decode(text, node.at)
        found.append(Span(*_place(text, node.at), *_place(text, end)))
    return found


def _place(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
