"""One inference as raw HTTP, for the floor's client to replay."""

from __future__ import annotations

import json

from benchmarks.workloads import Workload
from tests.processes import AcceleratorProcess


def infer_request(process: AcceleratorProcess, workload: Workload) -> bytes:
    """An inference by the one model that is loaded, head and body."""
    status, _, body = process.request("POST", "/v2/repository/index", {"ready": True})
    names = [entry["name"] for entry in json.loads(body)]
    if status != 200 or len(names) != 1:
        raise RuntimeError(f"expected one loaded model, got {status} {names}")
    entry = {
        "name": "x",
        "datatype": workload.datatype,
        "shape": list(workload.shape),
        "parameters": {"binary_data_size": workload.request_bytes},
    }
    output = {"name": "y", "parameters": {"binary_data": True}}
    document = json.dumps({"inputs": [entry], "outputs": [output]}).encode()
    tensor = workload.feed().tobytes()
    head = (
        f"POST /v2/models/{names[0]}/infer HTTP/1.1\r\n"
        "Host: accelerator\r\n"
        f"Authorization: Bearer {process.token(lifetime=3600.0)}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(document)}\r\n"
        f"Content-Length: {len(document) + len(tensor)}\r\n\r\n"
    )
    return head.encode() + document + tensor
