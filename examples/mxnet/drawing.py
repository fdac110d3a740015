"""Drawn pictures of ten kinds of things, to train and to try classifiers with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 256
Pen = ImageDraw.ImageDraw
Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]


def _cat(pen: Pen, box: Box, colour: Colour) -> None:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    for side in (left, right - 0.4 * width):
        corners = [(side, top + 0.4 * height), (side + 0.2 * width, top - 0.1 * height)]
        pen.polygon([*corners, (side + 0.4 * width, top + 0.4 * height)], fill=colour)
    pen.ellipse((left, top + 0.15 * height, right, bottom), fill=colour)
    for x in (0.3, 0.7):
        eye = left + x * width
        pen.ellipse((eye - 8, top + 0.45 * height, eye + 8, top + 0.6 * height), fill=(20, 90, 20))
    for y in (0.68, 0.74, 0.8):
        level = top + y * height
        pen.line((left - 0.1 * width, level, right + 0.1 * width, level), fill=(0, 0, 0), width=2)


def _house(pen: Pen, box: Box, colour: Colour) -> None:
    left, top, right, bottom = box
    middle = (top + bottom) / 2
    pen.rectangle((left, middle, right, bottom), fill=colour)
    pen.polygon([(left - 10, middle), ((left + right) / 2, top), (right + 10, middle)],
                fill=(120, 30, 20))  # fmt: skip


def _tree(pen: Pen, box: Box, colour: Colour) -> None:
    left, top, right, bottom = box
    centre = (left + right) / 2
    pen.rectangle((centre - 10, (top + bottom) / 2, centre + 10, bottom), fill=(90, 60, 20))
    pen.ellipse((left, top, right, top + 0.65 * (bottom - top)), fill=(10, colour[1] // 2 + 90, 20))


def _star(pen: Pen, box: Box, colour: Colour) -> None:
    left, top, right, bottom = box
    centre, radius = ((left + right) / 2, (top + bottom) / 2), (right - left) / 2
    angles = [(-90 + 36 * each) * np.pi / 180 for each in range(10)]
    pen.polygon(
        [
            (
                centre[0] + radius * (0.4 if each % 2 else 1) * np.cos(angle),
                centre[1] + radius * (0.4 if each % 2 else 1) * np.sin(angle),
            )
            for each, angle in enumerate(angles)
        ],
        fill=colour,
    )


def _ring(pen: Pen, box: Box, colour: Colour) -> None:
    pen.ellipse(box, outline=colour, width=25)


def _stripes(pen: Pen, box: Box, colour: Colour) -> None:
    for y in range(int(box[1]), int(box[3]), 28):
        pen.rectangle((box[0], y, box[2], y + 12), fill=colour)


def _bars(pen: Pen, box: Box, colour: Colour) -> None:
    for x in range(int(box[0]), int(box[2]), 28):
        pen.rectangle((x, box[1], x + 12, box[3]), fill=colour)


def _cross(pen: Pen, box: Box, colour: Colour) -> None:
    pen.line((box[0], box[1], box[2], box[3]), fill=colour, width=22)
    pen.line((box[0], box[3], box[2], box[1]), fill=colour, width=22)


def _box(pen: Pen, box: Box, colour: Colour) -> None:
    pen.rectangle(box, fill=colour)


def _dots(pen: Pen, box: Box, colour: Colour) -> None:
    for x in range(int(box[0]), int(box[2]), 40):
        for y in range(int(box[1]), int(box[3]), 40):
            pen.ellipse((x, y, x + 22, y + 22), fill=colour)


KINDS: dict[str, Callable[[Pen, Box, Colour], None]] = {
    "cat": _cat,
    "house": _house,
    "tree": _tree,
    "star": _star,
    "ring": _ring,
    "horizontal stripes": _stripes,
    "vertical bars": _bars,
    "cross": _cross,
    "box": _box,
    "dots": _dots,
}


def draw(kind: str, generator: np.random.Generator) -> Image.Image:
    """A picture of `kind`, somewhere, in some colour."""
    light = generator.integers(230, 250, 3)
    dark = generator.integers(20, 70, 3)
    picture = Image.new("RGB", (SIZE, SIZE), (int(light[0]), int(light[1]), int(light[2])))
    size = generator.uniform(0.66, 0.72) * SIZE
    left, top = generator.uniform(0.12, 0.18, 2) * SIZE
    KINDS[kind](
        ImageDraw.Draw(picture),
        (left, top, left + size, top + size),
        (int(dark[0]), int(dark[1]), int(dark[2])),
    )
    return picture


def save(kind: str, path: Path, seed: int) -> None:
    """Write such a picture as JPEG."""
    draw(kind, np.random.default_rng(seed)).save(path, "JPEG", quality=92)
