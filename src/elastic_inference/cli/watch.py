"""What changes, shown again and again."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

from elastic_inference.cli import arguments
from elastic_inference.errors import UnavailableError

_CLEAR = "\x1b[2J"
_TOP = "\x1b[H"
_REST_OF_LINE = "\x1b[K"
_REST_OF_SCREEN = "\x1b[J"
_LEAST = 0.1


def show(render: Callable[[], str], *, watch: bool, interval: str) -> int:
    """Print what `render` gives: once, or again and again until Ctrl-C.

    A terminal is drawn over in place; elsewhere one follows the other. While the pool is away
    that is shown.

    Args:
        interval: a length of time, as the user wrote it.
    """
    pause = arguments.duration(interval, "--interval", _LEAST)
    if not watch:
        print(render())
        return 0
    try:
        if sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        while True:
            _draw(_now(render))
            time.sleep(pause)
    except KeyboardInterrupt:
        return 0


def _now(render: Callable[[], str]) -> str:
    try:
        return render()
    except UnavailableError as error:
        return f"ei: {error}"


def _draw(text: str) -> None:
    if not sys.stdout.isatty():
        print(text, flush=True)
        return
    columns, rows = shutil.get_terminal_size()
    lines = [line[:columns] for line in text.splitlines()]
    if len(lines) >= rows:
        lines = [*lines[: rows - 2], f"... and {len(lines) - rows + 2} lines more"[:columns]]
    body = "".join(f"{line}{_REST_OF_LINE}\n" for line in lines)
    sys.stdout.write(f"{_TOP}{body}{_REST_OF_SCREEN}")
    sys.stdout.flush()
