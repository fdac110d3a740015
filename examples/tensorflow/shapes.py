"""Pictures and videos of circles, squares and triangles, with the boxes that are right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Picture: TypeAlias = npt.NDArray[np.uint8]
# What a detector calls them: its class 1 is the first of them.
NAMES = ("circle", "square", "triangle")
WIDTH, HEIGHT = 320, 240
_SMALLEST, _LARGEST = 26, 76


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape in a picture.

    Attributes:
        kind: 1, 2 or 3, as NAMES says.
        x, y: its middle, in pixels.
        size: of the square around it, in pixels.
        color: red, green, blue.
    """

    kind: int
    x: float
    y: float
    size: float
    color: tuple[int, int, int]

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Top, left, bottom and right as parts of the picture."""
        half = self.size / 2
        return (
            max(self.y - half, 0) / height,
            max(self.x - half, 0) / width,
            min(self.y + half, height) / height,
            min(self.x + half, width) / width,
        )


def draw(shapes: list[Shape], width: int, height: int, generator: np.random.Generator) -> Picture:
    """A picture of these shapes, red, green, blue, on a background of its own."""
    corners = generator.integers(0, 241, (2, 2, 3), np.uint8)
    background = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    noise = np.frombuffer(generator.bytes(background.size), np.uint8) >> 4
    canvas: Picture = background + noise.reshape(background.shape)
    for shape in shapes:
        _paint(canvas, shape)
    return canvas


def _paint(canvas: Picture, shape: Shape) -> None:
    half = shape.size / 2
    left, top = round(shape.x - half), round(shape.y - half)
    right, bottom = round(shape.x + half), round(shape.y + half)
    middle = round(shape.x)
    if shape.kind == 1:
        center = (middle, round(shape.y))
        cv2.circle(canvas, center, round(half), shape.color, cv2.FILLED, cv2.LINE_AA)
    elif shape.kind == 2:
        cv2.rectangle(canvas, (left, top), (right, bottom), shape.color, cv2.FILLED)
    else:
        points = np.array([(left, bottom), (right, bottom), (middle, top)], np.int32)
        cv2.fillPoly(canvas, [points], shape.color, cv2.LINE_AA)


def some(generator: np.random.Generator, count: int, width: int, height: int) -> list[Shape]:
    """Shapes of random kinds, places, sizes and colours that do not touch each other."""
    found: list[Shape] = []
    for _ in range(count * 20):
        size = float(generator.uniform(_SMALLEST, _LARGEST))
        x = float(generator.uniform(size / 2, width - size / 2))
        y = float(generator.uniform(size / 2, height - size / 2))
        kind = int(generator.integers(1, len(NAMES) + 1))
        shape = Shape(kind, x, y, size, _color(generator))
        if all(_apart(shape, other) for other in found):
            found.append(shape)
        if len(found) == count:
            break
    return found


def _color(generator: np.random.Generator) -> tuple[int, int, int]:
    """A full colour: backgrounds, which are mixed, have it seldom."""
    color = [0, 255, int(generator.integers(0, 256))]
    generator.shuffle(color)
    return color[0], color[1], color[2]


def _apart(one: Shape, other: Shape) -> bool:
    away = max(abs(one.x - other.x), abs(one.y - other.y))
    return away > (one.size + other.size) / 2


def scene(generator: np.random.Generator) -> tuple[Picture, list[Shape]]:
    """A picture as a frame of a video is, and what is in it."""
    shapes = some(generator, int(generator.integers(1, 5)), WIDTH, HEIGHT)
    return draw(shapes, WIDTH, HEIGHT, generator), shapes


class Film:
    """Three shapes, one of each kind, that move and are reflected at the edges.

    Attributes:
        shapes: what each of the frames shows.
    """

    def __init__(self, frames: int, seed: int = 0) -> None:
        self._seed = seed
        generator = np.random.default_rng(seed)
        lane = HEIGHT / len(NAMES)
        starts = [
            Shape(kind, float(generator.uniform(60, WIDTH - 60)), lane * (kind - 0.5),
                  float(generator.uniform(36, 60)), _color(generator))
            for kind in range(1, len(NAMES) + 1)
        ]  # fmt: skip
        speeds = generator.uniform(3, 7, len(starts)) * generator.choice([-1, 1], len(starts))
        self.shapes = [
            [_moved(shape, speed * frame) for shape, speed in zip(starts, speeds, strict=True)]
            for frame in range(frames)
        ]

    def pictures(self) -> list[Picture]:
        """Its frames, red, green, blue, all on the same background."""
        return [
            draw(shapes, WIDTH, HEIGHT, np.random.default_rng(self._seed)) for shapes in self.shapes
        ]


def _moved(shape: Shape, distance: float) -> Shape:
    room = WIDTH - shape.size
    way = (shape.x - shape.size / 2 + distance) % (2 * room)
    x = (way if way <= room else 2 * room - way) + shape.size / 2
    return Shape(shape.kind, x, shape.y, shape.size, shape.color)


def write_video(path: Path, pictures: list[Picture], rate: float = 12.0) -> None:
    """Write frames, red, green, blue, as a video (`.avi` or `.mp4`)."""
    height, width, _ = pictures[0].shape
    code = "mp4v" if path.suffix == ".mp4" else "MJPG"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (width, height))
    if not writer.isOpened():
        raise SystemExit(f"OpenCV cannot write {path}: give it the suffix .avi or .mp4.")
    try:
        for picture in pictures:
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


def read_video(path: Path, most: int) -> list[Picture]:
    """The first frames of a video, red, green, blue."""
    video = cv2.VideoCapture(str(path))
    try:
        pictures: list[Any] = []
        while len(pictures) < most:
            ok, picture = video.read()
            if not ok:
                break
            pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    finally:
        video.release()
    if not pictures:
        raise SystemExit(f"OpenCV finds no frame in {path}.")
    return pictures
