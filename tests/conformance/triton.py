"""tritonclient's HTTP and gRPC clients, unmodified, on the accelerator's own address."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

from elastic_inference.protocol.tensors import TensorSpec
from tests.conformance import values

WAYS = ("tritonclient HTTP", "tritonclient gRPC")

Infer = Callable[[str, Sequence[tuple[TensorSpec, Any]], Sequence[TensorSpec]], list[Any]]
"""The outputs, by their specifications, of a loaded model's handle for given inputs."""


@contextmanager
def clients() -> Iterator[Mapping[str, Infer]]:
    """Both clients, connected, as functions by the names of their ways."""
    access = _access()
    headers = {"authorization": f"Bearer {access['token']}"}
    with ExitStack() as stack:
        http = stack.enter_context(
            tritonclient.http.InferenceServerClient(
                access["url"].removeprefix("https://"),
                ssl=True,
                ssl_options={"ca_certs": access["ca"]},
            )
        )
        grpc = stack.enter_context(
            tritonclient.grpc.InferenceServerClient(
                access["grpc_url"], ssl=True, root_certificates=access["ca"]
            )
        )
        modules = (tritonclient.http, tritonclient.grpc)
        yield {
            way: partial(_infer, module, client, headers)
            for way, module, client in zip(WAYS, modules, (http, grpc), strict=True)
        }


def _access() -> dict[str, str]:
    command = [sys.executable, "-m", "elastic_inference.cli", "token"]
    done = subprocess.run(
        [*command, "--expires-in", "2h", "-o", "json"], check=True, capture_output=True, timeout=60
    )
    access: dict[str, str] = json.loads(done.stdout)
    return access


def _infer(
    module: Any,
    client: Any,
    headers: Mapping[str, str],
    handle: str,
    given: Sequence[tuple[TensorSpec, Any]],
    wanted: Sequence[TensorSpec],
) -> list[Any]:
    inputs = []
    for spec, value in given:
        made = module.InferInput(spec.name, list(value.shape), spec.datatype)
        made.set_data_from_numpy(np.ascontiguousarray(value).reshape(value.shape))
        inputs.append(made)
    outputs = [module.InferRequestedOutput(spec.name) for spec in wanted]
    # Each call has headers of its own: the HTTP client adds to them.
    answer = client.infer(handle, inputs, outputs=outputs, headers=dict(headers))
    return [values.from_triton(answer.as_numpy(spec.name), spec) for spec in wanted]
