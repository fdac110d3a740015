"""`ei profile`: where a model's time goes on an accelerator."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from elastic_inference.cli import picture
from elastic_inference.cli.connection import need_pool
from elastic_inference.cli.feeds import make_feeds
from elastic_inference.cli.instance import RunningInstance
from elastic_inference.cli.output import mebibytes, table
from elastic_inference.client.accelerator import Accelerator
from elastic_inference.client.discovery import Credentials
from elastic_inference.client.grant import EndpointLocator
from elastic_inference.client.profile import Profile
from elastic_inference.errors import (
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
)
from elastic_inference.protocol.tensors import TensorSpec
from elastic_inference.settings import ClientSettings, PoolSettings, from_environment

_MOST_RUNS = 1000
_MOST_ROWS = 15


def main(options: argparse.Namespace) -> int:
    if not 1 <= options.runs <= _MOST_RUNS:
        raise InvalidRequestError(f"--runs {options.runs}: it is a number from 1 to {_MOST_RUNS}.")
    path = Path(options.model)
    if not path.is_file():
        raise InvalidRequestError(
            f"There is no file {options.model!r}.", next_step="Give the path of an ONNX model."
        )
    if options.picture and not os.access(Path(options.picture).parent, os.W_OK):
        raise InvalidRequestError(
            f"--picture {options.picture!r}: its folder is not there, or may not be written to.",
            next_step="Name a file in a folder of yours.",
        )
    with contextlib.ExitStack() as stack:
        accelerator = stack.enter_context(_accelerator(options.accelerator, stack))
        _say(f"loading {path.name} on {accelerator.id} ({accelerator.type})")
        model = stack.enter_context(accelerator.load(path))
        feeds = make_feeds(model.inputs, options.input)
        _say(f"running it {options.runs} times, then recording as many runs")
        try:
            found = model.profile(feeds, options.runs)
        except (InternalError, InvalidRequestError) as error:
            raise _explained(error, model.inputs, options.input) from error
    if options.picture:
        Path(options.picture).write_text(picture.svg(found, path.name), encoding="utf-8")
    if options.output == "json":
        print(json.dumps({"model": str(path), **found.to_dict()}, indent=2))
    else:
        print(_report(found))
        if options.picture:
            print(f"\nThe picture is in {options.picture}.")
    return 0


def _accelerator(wanted: str, stack: contextlib.ExitStack) -> Accelerator:
    """The accelerator with that id, or one of that type for the time of the command."""
    settings = from_environment(PoolSettings)
    if wanted.startswith("eia-"):
        pointer = need_pool(settings).pointer
        accelerator_id, endpoint, ca = wanted, pointer.endpoint, pointer.ca
        own = Credentials(pointer.access_key_id, pointer.secret_access_key, pointer.session_token)
        get = lambda: own  # noqa: E731 - a function that only gives a value
    else:
        _say(f"starting an accelerator of type {wanted}")
        instance = RunningInstance(settings, [wanted], "ei profile")
        stack.callback(instance.close)
        (accelerator_id,) = instance.accelerators
        endpoint, ca = instance.endpoint, instance.ca
        get = instance.credentials
    client = replace(from_environment(ClientSettings), endpoint=endpoint, ca_bundle=ca)
    return Accelerator(EndpointLocator(accelerator_id, get, client), client)


def _explained(
    error: ElasticInferenceError, inputs: Sequence[TensorSpec], given: Sequence[str]
) -> ElasticInferenceError:
    """The error of a run; where sizes were made up, with the advice to give them."""
    made_up = [
        spec
        for spec in inputs
        if any(size < 0 for size in spec.shape or ())
        and not any(each.startswith(f"{spec.name}=") for each in given)
    ]
    if made_up:
        shape = ",".join(str(size) if size >= 0 else "?" for size in made_up[0].shape or ())
        error.next_step = (
            f"Sizes that the model leaves open were taken as 1: give them with"
            f" --input {made_up[0].name}={shape}."
        )
    return error


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"ei: {text} …", file=sys.stderr)


def _report(found: Profile) -> str:
    kernels = sum(node.ns for node in found.nodes)
    head = [
        (
            f"{found.accelerator_id} ({found.accelerator_type}), {', '.join(found.providers)}, "
            f"over {found.transport}; means of {found.runs} calls"
        ),
        "",
        table(
            ("A CALL", "       ms", "  SHARE"),
            [
                _row(name, ns, found.wall_ns)
                for name, ns in (
                    ("transfer to the accelerator", found.receive_ns),
                    ("compute", found.compute_ns),
                    ("transfer back", found.send_ns),
                    ("way and client", found.overhead_ns),
                    ("whole", found.wall_ns),
                )
            ],
        ),
        "",
        table(
            ("OPERATOR", "       ms", "  SHARE", "NODES"),
            [
                (*_row(row.operator, row.ns, kernels), str(row.nodes))
                for row in found.operators[:_MOST_ROWS]
            ],
        ),
        "",
        table(
            ("NODE", "       ms", "  SHARE", "OPERATOR", "OUTPUT KiB"),
            [
                (
                    *_row(node.name[:60], node.ns, kernels),
                    node.operator,
                    f"{node.output_bytes / 1024:.0f}",
                )
                for node in found.nodes[:_MOST_ROWS]
            ],
        ),
    ]
    if len(found.nodes) > _MOST_ROWS:
        head.append(f"… and {len(found.nodes) - _MOST_ROWS} nodes more (-o json has all)")
    head += [
        "",
        f"A recorded run took {_ms(found.recorded_ns)} ms, its operators {_ms(kernels)} ms.",
        f"Loading took {_ms(found.load_ns)} ms.",
        _memory(found),
    ]
    return "\n".join(head)


def _memory(found: Profile) -> str:
    model, running = mebibytes(found.model_bytes), mebibytes(found.activation_bytes)
    limit = mebibytes(found.memory_limit)
    return f"Memory: model {model} MiB, running {running} MiB, limit {limit} MiB."


def _row(name: str, ns: int, whole: int) -> tuple[str, str, str]:
    return name, f"{_ms(ns):>9}", f"{100 * ns / whole:5.1f} %" if whole else "-"


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.3f}"
