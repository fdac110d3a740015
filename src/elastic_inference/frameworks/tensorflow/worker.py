"""The process that makes plans: TensorFlow and its converters are loaded here alone.

Reads one JSON object, `{"sources": [...]}`, from its standard input. Writes a JSON object a line to
its standard output: `{"source": N}` with `"step"` for progress, `"done"` or `"error"`.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from elastic_inference.errors import ElasticInferenceError, InternalError
from elastic_inference.frameworks.tensorflow.planner import Planner
from elastic_inference.frameworks.tensorflow.request import source_of


def main() -> int:
    request = json.load(sys.stdin)
    answers = _private_output()
    warnings.simplefilter("ignore")
    for number, item in enumerate(request["sources"]):
        _make(answers, number, item, request["made_with"])
    return 0


def _private_output() -> IO[str]:
    """Standard output, out of reach of libraries that print."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8")


def _make(
    answers: IO[str], number: int, item: Mapping[str, Any], made_with: Mapping[str, str]
) -> None:
    def say(**answer: Any) -> None:
        answers.write(json.dumps({"source": number, **answer}) + "\n")
        answers.flush()

    try:
        planner = Planner(
            source_of(item["source"]),
            Path(item["folder"]),
            Path(item["final"]),
            lambda step: say(step=step),
        )
        planner.make(made_with)
    except ElasticInferenceError as error:
        say(error=error.to_dict())
    except MemoryError as error:
        say(error=InternalError(f"There is too little memory to convert it: {error}").to_dict())
    # One model's failure is not that of the others of the request.
    except Exception as error:  # noqa: BLE001
        say(error=InternalError(f"{type(error).__name__}: {error}").to_dict())
    else:
        say(done=True)


if __name__ == "__main__":
    sys.exit(main())
