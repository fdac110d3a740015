"""Hostile model files over the wire, and models that go while they are used."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from elastic_inference.protocol.wireformat import number_field, submessage
from tests.accelerator.graphs import linear, model, network, value_info
from tests.accelerator.http_client import (
    Wire,
    error_of,
    infer,
    infer_body,
    load,
    read_output,
    scale_model,
)
from tests.client.models import slow
from tests.faults.conftest import Bystander, X, cpu_ticks, until
from tests.processes import AcceleratorProcess


def external(location: str) -> bytes:
    """`y = x + w`, whose weights are said to lie in the file `location`."""
    data = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [value_info("x", TensorProto.FLOAT, [4])],
        [value_info("y", TensorProto.FLOAT, [4])],
        {"w": np.zeros(4, np.float32)},
    )
    made = onnx.load_from_string(data)
    weights = made.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    return bytes(made.SerializeToString())


def huge_shape() -> bytes:
    """An initializer that says it has 2**60 elements and brings none."""
    made = onnx.load_from_string(linear())
    made.graph.initializer[0].dims[:] = [1 << 30, 1 << 30]
    return bytes(made.SerializeToString())


def cycle() -> bytes:
    return model(
        [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["a", "x"], ["b"])],
        [value_info("x", TensorProto.FLOAT, [4])],
        [value_info("b", TensorProto.FLOAT, [4])],
    )


def abyss() -> bytes:
    """Graphs in attributes of nodes in graphs, deeper than any parser follows."""
    graph = b""
    for _ in range(200):
        attribute = submessage(1, b"then_branch") + submessage(6, graph) + number_field(20, 5)
        graph = submessage(1, submessage(4, b"If") + submessage(5, attribute))
    return number_field(1, 8) + submessage(7, graph) + submessage(8, number_field(2, 17))


HOSTILE = {
    "nothing": b"",
    "text": b"not a model at all",
    "zeros": bytes(4096),
    "noise": np.random.default_rng(0).bytes(100_000),
    "cut off": network()[:500_000],
    "endless varint": b"\x08" + b"\xff" * 64,
    "length beyond the end": b"\x3a\xff\xff\xff\xff\x7f" + bytes(100),
    "nested": abyss(),
    "an unknown operator": model(
        [helper.make_node("Explode", ["x"], ["y"])],
        [value_info("x", TensorProto.FLOAT, [4])],
        [value_info("y", TensorProto.FLOAT, [4])],
    ),
    "a cycle": cycle(),
    "a shape without data": huge_shape(),
    "another type": linear().replace(b"Gemm", b"Conv"),
    "passwords": external("/etc/passwd"),
    "a file above": external("../../../../../etc/passwd"),
    "a file of the process": external("/proc/self/environ"),
    "another model's": external("../victim/model.onnx"),
    "a file that did not come": external("weights.bin"),
    "a name with a null": external("weights.bin\0/etc/passwd"),
    "memory": external("/dev/zero"),
}


def upload(wire: Wire, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    status, _, answer = wire.request(
        "PUT",
        f"/v2/elastic-inference/blobs/{digest}",
        data,
        headers=(f"Content-Range: bytes 0-{len(data) - 1}/{len(data)}",),
    )
    assert status in (200, 201), answer
    return digest


def load_files(wire: Wire, files: dict[str, str], main: str) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"files": files, "main": main}).encode()
    status, _, answer = wire.request("POST", "/v2/elastic-inference/models", body)
    return status, json.loads(answer)


@pytest.mark.usefixtures("bystander")
class TestHostileFiles:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_it_is_refused_both_ways(self, served: AcceleratorProcess, name: str) -> None:
        data = HOSTILE[name]
        with Wire(served) as wire:
            parameters = {"file:1/model.onnx": base64.b64encode(data).decode()}
            body = json.dumps({"parameters": parameters}).encode()
            answer = wire.request("POST", "/v2/repository/models/hostile/load", body)
            status, error = error_of(answer)
            assert status == 400, error
            store = str(served.config.store_directory)
            assert store not in error, "where files lie is nobody's business"
            assert wire.request("GET", "/v2/models/hostile/ready")[0] == 404
            if data:
                status, document = load_files(wire, {"m.onnx": upload(wire, data)}, "m.onnx")
                assert (status, document["kind"]) == (400, "model-format")

    @pytest.mark.parametrize(
        "name", ["../w.bin", "/w.bin", "a/../../w.bin", "w\0.bin", "", ".", "..", "a" * 300]
    )
    def test_names_of_files(self, served: AcceleratorProcess, name: str) -> None:
        with Wire(served) as wire:
            files = {"m.onnx": upload(wire, linear()), name: upload(wire, b"w" * 16)}
            status, document = load_files(wire, files, "m.onnx")
            assert status == 400, document

    def test_a_hash_that_nobody_uploaded_whole(self, served: AcceleratorProcess) -> None:
        data = linear(seed=3)
        digest = hashlib.sha256(data).hexdigest()
        with Wire(served) as wire:
            status, _, answer = wire.request(
                "PUT",
                f"/v2/elastic-inference/blobs/{digest}",
                data[:100],
                headers=(f"Content-Range: bytes 0-99/{len(data)}",),
            )
            assert (status, json.loads(answer)["offset"]) == (200, 100)
            assert load_files(wire, {"m.onnx": digest}, "m.onnx")[0] == 404

    def test_content_that_is_not_what_was_announced(self, served: AcceleratorProcess) -> None:
        data = linear(seed=4)
        digest = hashlib.sha256(data).hexdigest()
        with Wire(served) as wire:
            answer = wire.request(
                "PUT",
                f"/v2/elastic-inference/blobs/{digest}",
                data[:-1] + b"x",
                headers=(f"Content-Range: bytes 0-{len(data) - 1}/{len(data)}",),
            )
            assert error_of(answer)[0] == 400
            status = wire.request("GET", f"/v2/elastic-inference/blobs/{digest}")[2]
            assert json.loads(status) == {"complete": False, "offset": 0}


def test_two_models_of_one_architecture_under_load(
    served: AcceleratorProcess, bystander: Bystander
) -> None:
    """Loaded, used and unloaded by turns: each answers with its own weights, always."""
    factors = (5, 7, 11)
    for factor in factors:
        load(served, f"scale{factor}", scale_model(factor))

    def work(factor: int) -> None:
        with Wire(served) as wire:
            wire.request("GET", "/v2")
            for round_ in range(150):
                x = X + round_
                assert np.array_equal(infer(wire, f"scale{factor}", x, token=None), x * factor)

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(work, factor) for factor in factors]:
            done.result(60.0)
    bystander.goes_on()
    for factor in factors:
        assert served.request("POST", f"/v2/repository/models/scale{factor}/unload")[0] == 200


def test_a_name_that_changes_its_model_while_it_is_used(
    served: AcceleratorProcess, bystander: Bystander
) -> None:
    load(served, "turn", scale_model(2))
    stop = threading.Event()
    seen: set[float] = set()

    def ask() -> None:
        with Wire(served) as wire:
            wire.request("GET", "/v2")
            while not stop.is_set():
                answer = infer(wire, "turn", X + 1, token=None)
                factor = float(answer[0, 0])
                assert answer.tolist() == ((X + 1) * factor).tolist()
                seen.add(factor)

    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(ask)
        try:
            for factor in (3, 2, 5) * 4:
                load(served, "turn", scale_model(factor))
                # The answer under way may still be that of the model before.
                for _ in range(2):
                    seen.clear()
                    until("an answer", lambda: bool(seen) or asking.done())
                assert factor in seen
        finally:
            stop.set()
        asking.result(60.0)
    bystander.goes_on()
    assert served.request("POST", "/v2/repository/models/turn/unload")[0] == 200


def test_unloading_while_an_inference_runs(
    served: AcceleratorProcess, bystander: Bystander
) -> None:
    load(served, "leaving", slow(15_000))
    x = np.random.default_rng(2).random((120, 120), np.float32)
    with Wire(served) as wire, unloaded(served, "leaving"):
        wire.request("GET", "/v2")
        want = infer(wire, "leaving", x, token=None)
        send_infer(wire, "leaving", x)
        wait_until_it_computes(served)
        assert not answered(wire)
        assert served.request("POST", "/v2/repository/models/leaving/unload")[0] == 200
        status, headers, answer = wire.answer()
        assert status == 200
        assert np.array_equal(read_output(headers, answer), want)
        send_infer(wire, "leaving", x)
        assert wire.answer()[0] == 404
    bystander.goes_on()


@contextlib.contextmanager
def unloaded(process: AcceleratorProcess, name: str) -> Iterator[None]:
    """Unload a model at the end, if it is loaded still."""
    try:
        yield
    finally:
        process.request("POST", f"/v2/repository/models/{name}/unload")


def send_infer(wire: Wire, name: str, x: np.ndarray[Any, Any]) -> None:
    body, length = infer_body(x)
    wire.send(
        (
            f"POST /v2/models/{name}/infer HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
            f"Inference-Header-Content-Length: {length}\r\n\r\n"
        ).encode()
        + body
    )


def wait_until_it_computes(process: AcceleratorProcess, ticks: int = 12) -> None:
    """Until it has used far more CPU time than reading a request takes, all clients together."""
    before = cpu_ticks(process.pid)
    until("the process at work", lambda: cpu_ticks(process.pid) >= before + ticks)


def answered(wire: Wire) -> bool:
    wire.socket.setblocking(False)
    try:
        return bool(wire.socket.recv(1, 2))  # MSG_PEEK
    except BlockingIOError:
        return False
    finally:
        wire.socket.settimeout(30.0)


def test_nothing_stays_on_the_disk_of_what_was_refused(served: AcceleratorProcess) -> None:
    models = Path(served.config.store_directory, "models")
    before = {path.name for path in models.iterdir()}
    with Wire(served) as wire:
        for data in (HOSTILE["noise"], HOSTILE["passwords"]):
            assert load_files(wire, {"m.onnx": upload(wire, data)}, "m.onnx")[0] == 400
    assert {path.name for path in models.iterdir()} == before
