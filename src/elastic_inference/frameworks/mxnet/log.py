"""Lines in the form of MXNet's own log, which its users look for."""

from __future__ import annotations

import sys
import time


def line(source: str, message: str) -> str:
    """`[hh:mm:ss] file:line: message`."""
    return f"[{time.strftime('%H:%M:%S')}] {source}: {message}"


def show(source: str, message: str) -> None:
    """Print a line of the log."""
    show_text(line(source, message))


def show_text(text: str) -> None:
    """Print `text` where MXNet prints its log."""
    if sys.stderr is not None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def failed(report: str) -> None:
    """Say what the accelerator could not do, as the original's engine does."""
    now = time.time()
    date = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(now))
    micros = int(now % 1 * 1_000_000)
    show_text(f"[{date}, {micros:06d}us] [Execution Engine][MXNet][3] Failed - {report}")


def upgraded(version: str) -> None:
    """Say that a symbol of an older version was read."""
    show(
        "src/nnvm/legacy_json_util.cc:209",
        f"Loading symbol saved by previous version v{version}. Attempting to upgrade...",
    )
    show("src/nnvm/legacy_json_util.cc:217", "Symbol successfully upgraded!")
