"""How far the making of plans is, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self

from elastic_inference.frameworks.tensorflow.source import Source

_WIDTH = 20
# Loading, running and one conversion: most models take so many steps.
_STEPS = 3


class Steps:
    """A line with a bar; it goes when all is done."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._taken = [0] * len(sources)
        self._visible = sys.stderr is not None and sys.stderr.isatty()
        self._shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._visible and self._shown:
            self._write("")
            sys.stderr.write("\r")

    def show(self, source: int, step: str) -> None:
        """`step` of that source begins."""
        self._taken[source] = _STEPS if step == "done" else min(self._taken[source] + 1, _STEPS)
        if not self._visible:
            return
        filled = _WIDTH * sum(self._taken) // (_STEPS * len(self._sources))
        what = self._sources[source].path.name
        self._write(f"Convert {what} [{'#' * filled:<{_WIDTH}}] {step}")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<{self._shown}}")
        sys.stderr.flush()
        self._shown = len(text)
