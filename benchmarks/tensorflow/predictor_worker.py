"""A process with one predictor, told what to do by JSON lines on its standard input.

    {"do": "open", "model": NAME, "path": PATH, "use_ei": BOOL}  ->  {"seconds": S, …}
    {"do": "drive", "seconds": S}                                ->  {"ms": [M, …]}

It says what it is after an open: whether TensorFlow is loaded in it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.driving import drive


def _open(message: dict[str, Any]) -> tuple[Callable[[], Any], dict[str, Any]]:
    begun = time.perf_counter()
    from elastic_inference.tensorflow import EIPredictor

    predictor = EIPredictor(message["path"], use_ei=message["use_ei"])
    opened = time.perf_counter() - begun
    loaded = "tensorflow" in sys.modules
    from benchmarks.tensorflow.models import feeds as feeds_of

    feeds = feeds_of(message["model"])
    begun = time.perf_counter()
    predictor(feeds)
    first = time.perf_counter() - begun
    answer = {"seconds": opened, "first": first, "tensorflow": loaded}
    return (lambda: predictor(feeds)), answer


def main() -> int:
    """Do what the lines say until there are no more."""
    # What libraries print must not get between the answers.
    answers = sys.stdout
    sys.stdout = sys.stderr
    run: Callable[[], Any] | None = None
    for line in sys.stdin:
        message = json.loads(line)
        if message["do"] == "open":
            run, answer = _open(message)
        else:
            assert run is not None
            answer = {"ms": drive(run, message["seconds"])}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
