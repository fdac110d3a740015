"""Objects in the frames of a video, found with an accelerator and without, timed side by side.

    ei run --accelerator eia1.large -- python video_detection.py

The video is drawn unless --video names another one, and the detector is trained for what is
drawn (once, within a minute) unless --graph names a frozen graph of TensorFlow's Object
Detection API.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from detector import cached, overlap
from shapes import NAMES, Film, Picture, Shape, read_video, write_video

from elastic_inference.tensorflow import EIPredictor

Detections: TypeAlias = dict[str, Any]


def draw_video(video: Path, frames: int) -> list[list[Shape]]:
    """Draw a video of moving shapes; which of them each frame shows."""
    film = Film(frames)
    write_video(video, film.pictures())
    return film.shapes


def load(graph: Path, *, use_ei: bool) -> EIPredictor:
    """A predictor for the frozen graph, after a first inference on a picture of random pixels."""
    predictor = EIPredictor(
        model_dir=str(graph),
        input_names={"inputs": "image_tensor:0"},
        output_names={
            "detection_scores": "detection_scores:0",
            "detection_classes": "detection_classes:0",
            "detection_boxes": "detection_boxes:0",
            "num_detections": "num_detections:0",
        },
        use_ei=use_ei,
    )
    predictor({"inputs": np.random.default_rng(0).integers(0, 256, (1, 100, 100, 3), np.uint8)})
    return predictor


def detect(graph: Path, frames: Sequence[Picture], *, use_ei: bool) -> list[Detections]:
    """Run the detector over all frames, one at a time, and print how long that takes."""
    started = time.perf_counter()
    predictor = load(graph, use_ei=use_ei)
    loaded = time.perf_counter()
    found = [_first(predictor({"inputs": frame[np.newaxis]})) for frame in frames]
    seconds = time.perf_counter() - loaded
    print("With an accelerator:" if use_ei else "On this machine alone:")
    print(f"Model load time (seconds): {loaded - started:.3f}")
    print(f"Number of video frames: {len(frames)}")
    print(f"Average inference time (seconds): {seconds / len(frames):.5f}")
    print(f"Total inference time (seconds): {seconds:.3f}\n")
    del predictor
    return found


def _first(answer: Detections) -> Detections:
    """What is found in the only picture of a batch."""
    count = int(np.ravel(answer["num_detections"])[0])
    return {key: answer[key][0][:count] for key in answer if key != "num_detections"}


def accuracy(found: Sequence[Detections], shown: Sequence[Sequence[Shape]]) -> tuple[float, float]:
    """Which part of the shapes shown is found, as what it is; and how well these boxes fit.

    A box finds a shape if they overlap by half of what they cover together.
    """
    fits = []
    for detections, shapes in zip(found, shown, strict=True):
        for shape in shapes:
            same = detections["detection_boxes"][detections["detection_classes"] == shape.kind]
            box = np.array(shape.box(*_SIZE), np.float32)
            fits.append(max(overlap(same, box), default=0.0))
    right = [fit for fit in fits if fit > 0.5]
    return len(right) / len(fits), float(np.mean(right or [0.0]))


_SIZE = (320, 240)
_COLORS = ((255, 220, 0), (0, 255, 255), (255, 0, 255), (255, 255, 255))


def annotate(picture: Picture, found: Detections, name: Callable[[int], str]) -> Picture:
    """A copy of the picture with the boxes, the names and the scores of what is found."""
    height, width, _ = picture.shape
    drawn = picture.copy()
    rows = zip(*(found[f"detection_{key}"] for key in ("boxes", "classes", "scores")), strict=True)
    for (top, left, bottom, right), number, score in rows:
        color = _COLORS[int(number) % len(_COLORS)]
        corner = round(left * width), round(top * height)
        cv2.rectangle(drawn, corner, (round(right * width), round(bottom * height)), color, 2)
        text = f"{name(int(number))} {score:.0%}"
        place = corner[0], max(corner[1] - 4, 10)
        cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)
    return drawn


def names(labels: Path | None) -> Callable[[int], str]:
    """The name of a class by its number: of the shapes, or the lines of a file."""
    lines = NAMES if labels is None else tuple(labels.read_text(encoding="utf-8").splitlines())
    return lambda number: lines[number - 1] if 0 < number <= len(lines) else f"class {number}"


def main() -> None:
    """Run the example from the command line."""
    parser = argparse.ArgumentParser(description="Detect objects in a video on an accelerator.")
    parser.add_argument("--video", type=Path, help="a video of yours (default: one that is drawn)")
    parser.add_argument("--graph", type=Path, help="frozen graph of a detector (default: shapes)")
    parser.add_argument("--labels", type=Path, help="file with the name of a class on each line")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path("annotated.avi"))
    options = parser.parse_args()

    graph = options.graph or cached()
    video = options.video or options.output.with_name("shapes.avi")
    shown = [] if options.video else draw_video(video, options.frames)
    frames = read_video(video, options.frames)
    alone = detect(graph, frames, use_ei=False)
    found = detect(graph, frames, use_ei=True)
    if shown and options.graph is None:
        for title, detections in (("alone", alone), ("with an accelerator", found)):
            part, fit = accuracy(detections, shown)
            print(f"Shapes found {title}: {part:.0%}; their boxes overlap by {fit:.0%}")
    name = names(options.labels)
    annotated = [annotate(frame, each, name) for frame, each in zip(frames, found, strict=True)]
    write_video(options.output, annotated)
    print(f"Annotated video: {options.output}")


if __name__ == "__main__":
    main()
