"""Cases that once found something, and the valid ones that all others begin from."""

from __future__ import annotations

import pytest
from onnx import TensorProto
from tritonclient.grpc import service_pb2

from elastic_inference.protocol import http2
from tests.accelerator.test_onnxfile import external, with_initializer
from tests.fuzz.accelerator import Accelerator
from tests.fuzz.grpc_client import call, header_block
from tests.fuzz.loads import plain
from tests.fuzz.parsers import joined
from tests.fuzz.registry import TARGETS, make

_CHECK = call(3, header_block("/grpc.health.v1.Health/Check"), b"")


def _nameless() -> bytes:
    asked = service_pb2.ModelInferRequest(model_name="float")
    parameters = asked.inputs.add(name="x", datatype="FP32", shape=[4]).parameters
    parameters["shared_memory_region"].string_param = ""
    parameters["shared_memory_byte_size"].int64_param = 16
    return bytes(asked.SerializeToString())


def _without_value(tensor: TensorProto) -> TensorProto:
    tensor.external_data[0].ClearField("value")
    return tensor


_NAMELESS = {"shared_memory_region": "", "shared_memory_byte_size": 16}

FINDS = {
    "shared memory without a name was looked for in the body, where what came before lay": (
        "inferences",
        b"\0"
        + joined(
            {
                "inputs": [
                    {
                        "name": "x",
                        "datatype": "FP32",
                        "shape": [4],
                        "parameters": {**_NAMELESS, "shared_memory_offset": 512},
                    }
                ],
                "parameters": {"binary_data_output": True},
            },
            bytes(16),
        ),
    ),
    "shared memory without a name was looked for among gRPC's raw contents": (
        "calls",
        b"\0" + _nameless(),
    ),
    "external data without a location passed": (
        "modelfiles",
        with_initializer(_without_value(external("x"))),
    ),
    "external data in a file named location passed": (
        "modelfiles",
        with_initializer(external("location")),
    ),
    "a message that is nested deeply ended the control connection": (
        "handovers",
        b"\1" + b"[" * 4000,
    ),
    "a model with a name that is not UTF-8 was called a failure of the engine": (
        "loads",
        plain().replace(b"graph", b"gr\xffph").replace(b"Relu", b"Re\xffu"),
    ),
    "a window of 0 for a stream that never began was answered on that stream": (
        "frames",
        b"\7" + http2.frame(http2.WINDOW_UPDATE, 0, 12, bytes(4)),
    ),
    "a malformed priority reset a stream that began after it, and was answered": (
        "frames",
        b"\2" + http2.frame(http2.PRIORITY, 0, 3, bytes(6)) + _CHECK,
    ),
}


@pytest.mark.parametrize(("name", "case"), FINDS.values(), ids=list(FINDS))
def test_find(name: str, case: bytes, attacked: Accelerator) -> None:
    target = make(name, attacked)
    try:
        target.run(case)
    finally:
        target.close()


@pytest.mark.parametrize("name", TARGETS)
def test_valid_cases(name: str, attacked: Accelerator) -> None:
    target = make(name, attacked)
    try:
        target.settle()
        for case in target.seeds:
            target.run(case)
        target.settle()
    finally:
        target.close()
