"""Paint the picture that the demo reads."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_LINES = [
    ("ELASTIC INFERENCE", 56),
    ("Attach a slice of an accelerator over the network.", 28),
    ("Invoice 2026-1117   Total: 1,284.50 EUR", 32),
    ("The quick brown fox jumps over the lazy dog.", 28),
    ("Gate B12  Boarding 18:45  Seat 27A", 36),
]
_SIZE = (960, 420)


def paint(path: Path) -> None:
    """Write a PNG of 960 by 420 pixels with five lines of text."""
    image = Image.new("RGB", _SIZE, "#f7f5ef")
    draw = ImageDraw.Draw(image)
    top = 30
    for index, (text, size) in enumerate(_LINES):
        font = ImageFont.load_default(size)
        draw.text((40, top), text, font=font, fill="#1d3557" if index % 2 == 0 else "#222222")
        top += size + 32
    draw.rectangle((20, 12, _SIZE[0] - 20, _SIZE[1] - 12), outline="#9aa5b1", width=2)
    image.save(path)
