"""The figures of peers as a picture: bars on a logarithmic scale, as SVG without a library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from benchmarks.peers.figures import MANY, Figure, Figures
from benchmarks.report import cell

_ROW, _HEAD, _GAP = 20, 46, 18
_LABELS, _BARS, _VALUES = 190, 250, 60
_PANEL = _BARS + _VALUES
_WIDTH = _LABELS + 2 * _PANEL + _GAP
_OURS, _OTHERS = "#1b6ac9", "#9aa5b1"
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933}"
    ".t{font-weight:600;font-size:14px}.s{fill:#52606d;font-size:11px}"
)

Value = Callable[[Figure], float | None]


def picture(figures: Figures) -> str:
    """Two panels a workload: latency with one connection, requests per second with many."""
    parts: list[str] = []
    top = 10
    for workload, rows in figures.by_workload.items():
        shown = [row for row in rows if row.one is not None]
        if not shown:
            continue
        parts.append(_text(10, top + 16, workload, "t"))
        parts += _panel(shown, _LABELS, top, "p50 of one connection, ms", _p50)
        title = f"requests/s of {MANY} connections"
        parts += _panel(shown, _LABELS + _PANEL + _GAP, top, title, _rate)
        for number, row in enumerate(shown):
            y = top + _HEAD + number * _ROW
            parts.append(_text(_LABELS - 8, y + 14, row.title, "", "end"))
        top += _HEAD + len(shown) * _ROW + _GAP
    parts.append(_text(10, top + 6, "Scales are logarithmic. Every server runs ONNX Runtime.", "s"))
    top += _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" '
        f'width="{_WIDTH}" height="{top}" role="img" '
        'aria-label="Latency and throughput of the project and its peers">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _p50(figure: Figure) -> float | None:
    return figure.one.p50_us / 1000 if figure.one else None


def _rate(figure: Figure) -> float | None:
    return figure.many.requests_per_second if figure.many else None


def _panel(rows: Sequence[Figure], left: int, top: int, title: str, value: Value) -> list[str]:
    parts = [_text(left, top + 34, title, "s")]
    values = [each for each in map(value, rows) if each]
    if not values:
        return parts
    low = 10 ** math.floor(math.log10(min(values)) - 0.1)
    decades = math.log10(max(values) / low) or 1.0
    for number, row in enumerate(rows):
        each = value(row)
        if not each:
            continue
        y = top + _HEAD + number * _ROW
        length = _BARS * math.log10(each / low) / decades
        colour = _OURS if row.title.startswith("Elastic Inference") else _OTHERS
        parts.append(
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{_ROW - 6}" '
            f'fill="{colour}"/>'
        )
        parts.append(_text(left + length + 5, y + 14, cell(each)))
    return parts


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y}"{named} text-anchor="{anchor}">{escape(text)}</text>'
