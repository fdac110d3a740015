"""The project's own contacts: plain TCP and TLS, HTTP and gRPC."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.peers import wire
from benchmarks.peers.catalog import Access
from benchmarks.peers.running import Contact
from benchmarks.target import Target
from benchmarks.workloads import Workload

TITLE = "Elastic Inference"
HTTP = f"{TITLE}, HTTP"
GRPC = f"{TITLE}, gRPC"
HTTPS = f"{TITLE}, HTTPS"


def load(target: Target, workloads: Sequence[Workload], models: Path) -> dict[str, str]:
    """Load each workload's model until the accelerator ends; the names they are served by."""
    names = {}
    for workload in workloads:
        content = (models / f"{workload.name}.onnx").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        whole = f"bytes 0-{len(content) - 1}/{len(content)}"
        _ask(
            target,
            "PUT",
            f"/v2/elastic-inference/blobs/{digest}",
            content,
            {"Content-Range": whole},
        )
        body = json.dumps({"files": {"model.onnx": digest}, "main": "model.onnx"}).encode()
        names[workload.name] = _ask(target, "POST", "/v2/elastic-inference/models", body)["name"]
    target.settle()
    return names


def _ask(
    target: Target, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> dict[str, str]:
    send = {"Authorization": f"Bearer {target.process.token(lifetime=600.0)}", **(headers or {})}
    status, _, answer = target.process.request(method, path, body, send)
    if status >= 300:
        raise RuntimeError(f"{method} {path} answered {status}: {answer.decode()}")
    said: dict[str, str] = json.loads(answer) if answer else {}
    return said


def contacts(target: Target, models: Mapping[str, str]) -> list[Contact]:
    """Every way to the accelerator, with a token that outlasts the run."""
    bearer = f"Bearer {target.process.token(lifetime=7200.0)}"
    http = Access(
        "HTTP",
        "http",
        partial(wire.binary_request, headers={"Authorization": bearer}),
        wire.binary_answer,
        0,
    )
    grpc = Access(
        "gRPC", "grpc", partial(wire.grpc_request, metadata={"authorization": bearer}), None, 0
    )
    plain, port = target.process.port, target.endpoint.port
    headers = {"authorization": bearer}
    tls = ("-t", "-s", target.process.config.server_name)
    return [
        Contact(HTTP, http, plain, models, headers=headers),
        Contact(GRPC, grpc, plain, models, headers=headers),
        Contact(HTTPS, http, port, models, tls, headers),
    ]
