"""Tables and figures for people."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TextIO

_MIB = 1 << 20


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, with nothing in them that moves a terminal's cursor."""
    lines = [header, *([_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _line(text: str) -> str:
    """A text as it may stand in a line: what somebody gave as a name may hold anything."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def give_up(stream: TextIO) -> None:
    """Let go of a stream that nobody reads any more, so that its rest is not tried at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def mebibytes(size: int | None) -> str:
    """Bytes in MiB, `-` where not known."""
    return "-" if size is None else f"{size / _MIB:.0f}"


def local_time(unix_seconds: float) -> str:
    """A moment, by this machine's clock and in its time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_seconds))


def seconds(nanoseconds: int) -> str:
    """A duration with a unit that fits it."""
    value = nanoseconds / 1e9
    if value >= 100:
        return f"{value:.0f} s"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"
