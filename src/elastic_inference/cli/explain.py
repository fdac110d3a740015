"""`ei explain`: how a TensorFlow model runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.explain import describe, explain
from elastic_inference.frameworks.tensorflow.prepare import prepare
from elastic_inference.frameworks.tensorflow.source import DEFAULT_SIGNATURE, Source


def main(options: argparse.Namespace) -> int:
    (plan,) = prepare([_source(options)], refresh=options.refresh)
    if options.output == "json":
        print(json.dumps(describe(plan), indent=2))
    else:
        print(explain(plan))
    return 0


def _source(options: argparse.Namespace) -> Source:
    inputs, outputs = (
        _names("--input", options.input),
        _names("--output-tensor", options.output_tensor),
    )
    named = bool(inputs and outputs) and not options.signature
    return Source(
        Path(options.model),
        tuple(tag for tag in options.tags.split(",") if tag),
        "" if named else options.signature or DEFAULT_SIGNATURE,
        inputs,
        outputs,
    )


def _names(option: str, given: list[str]) -> dict[str, str]:
    names = {}
    for each in given:
        key, separator, tensor = each.partition("=")
        if not (key and separator and tensor):
            raise InvalidRequestError(
                f"{option} {each!r} is not KEY=TENSOR.", next_step="As inputs=image_tensor:0."
            )
        names[key] = tensor
    return names
