"""A profile as a picture: bars in an SVG that any browser shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from elastic_inference.client.profile import Profile

_WIDTH, _LABEL, _BAR, _STEP = 960, 300, 16, 22
_MOST_NODES = 40
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
_PARTS = (
    ("to the accelerator", "receive_ns"),
    ("compute", "compute_ns"),
    ("back", "send_ns"),
    ("way and client", "overhead_ns"),
)


def svg(profile: Profile, title: str) -> str:
    """The picture: a call, its operators, its slowest nodes."""
    kernels = max(1, sum(node.ns for node in profile.nodes))
    operators = [(row.operator, row.ns, f"{row.nodes} nodes") for row in profile.operators]
    colours = {
        name: _COLOURS[min(place, len(_COLOURS) - 1)]
        for place, (name, _, _) in enumerate(operators)
    }
    nodes = [(node.name, node.ns, node.operator) for node in profile.nodes[:_MOST_NODES]]
    body = [_heading(20, f"{title}: {profile.wall_ns / 1e6:.3f} ms a call")]
    body += _stack(profile, 34)
    top = 108
    body.append(_heading(top, f"operators, of {kernels / 1e6:.3f} ms recorded"))
    body += _bars(operators, kernels, top + 12, [colours[name] for name, _, _ in operators])
    top += 44 + _STEP * len(operators)
    body.append(_heading(top, "slowest nodes"))
    body += _bars(nodes, kernels, top + 12, [colours[operator] for _, _, operator in nodes])
    height = top + 32 + _STEP * len(nodes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _heading(top: float, text: str) -> str:
    return f'<text x="10" y="{top}" font-weight="bold">{escape(text)}</text>'


def _stack(profile: Profile, top: float) -> Iterator[str]:
    """One bar of a call's parts, with their names below."""
    left, whole = 10.0, max(1, profile.wall_ns)
    for place, (name, key) in enumerate(_PARTS):
        ns = getattr(profile, key)
        width = (_WIDTH - 20) * min(1.0, ns / whole)
        text = f"{name}: {ns / 1e6:.3f} ms, {100 * ns / whole:.1f} %"
        yield _rectangle(left, top, width, 24, _COLOURS[place], text)
        column = 10 + place * (_WIDTH - 20) / len(_PARTS)
        yield _rectangle(column, top + 34, 10, 10, _COLOURS[place], text)
        yield f'<text x="{column + 15:.0f}" y="{top + 43}">{escape(text)}</text>'
        left += width


def _bars(
    rows: Sequence[tuple[str, int, str]], whole: int, top: float, colours: Sequence[str]
) -> Iterator[str]:
    longest = max([1, *(ns for _, ns, _ in rows)])
    for (name, ns, note), colour in zip(rows, colours, strict=True):
        shown = name if len(name) <= 44 else f"…{name[-43:]}"
        width = (_WIDTH - _LABEL - 230) * ns / longest
        text = f"{ns / 1e6:.3f} ms, {100 * ns / whole:.1f} %, {note}"
        yield (
            f'<text x="{_LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(shown)}'
            f"<title>{escape(name)}</title></text>"
        )
        yield _rectangle(_LABEL, top, width, _BAR, colour, f"{name}: {text}")
        yield f'<text x="{_LABEL + width + 6:.0f}" y="{top + 12}">{escape(text)}</text>'
        top += _STEP


def _rectangle(left: float, top: float, width: float, height: float, colour: str, text: str) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top}" width="{max(0.5, width):.1f}" height="{height}" '
        f'fill="{colour}"><title>{escape(text)}</title></rect>'
    )
