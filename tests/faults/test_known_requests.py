"""Requests that are recognised by their bytes: nothing that matters may be taken from memory."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.accelerator.graphs import value_info
from tests.accelerator.http_client import (
    Wire,
    error_of,
    infer,
    infer_body,
    load,
    read_output,
    scale_model,
)
from tests.accelerator.test_shared_memory import memfd, offer
from tests.client.models import slow
from tests.faults.conftest import X, until
from tests.faults.test_models import send_infer, unloaded, wait_until_it_computes
from tests.processes import AcceleratorProcess

LARGE = np.random.default_rng(4).random((2_000, 4), np.float32)


def known_bytes(
    array: np.ndarray[Any, Any], model: str = "victim", token: str | None = None
) -> bytes:
    """A request as it is recognised: the same but for its tensors, with or without a token."""
    body, length = infer_body(array)
    shown = "" if token is None else f"Authorization: Bearer {token}\r\n"
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\n{shown}Content-Length: {len(body)}\r\n"
        f"Inference-Header-Content-Length: {length}\r\n\r\n"
    )
    return head.encode() + body


def result(wire: Wire) -> np.ndarray[Any, Any]:
    status, headers, body = wire.answer()
    assert status == 200, body
    return read_output(headers, body)


@pytest.fixture
def wire(served: AcceleratorProcess, transport: str) -> Any:
    with Wire(served, unix=transport == "unix") as connection:
        assert connection.request("GET", "/v2")[0] == 200
        yield connection


@pytest.fixture(params=["tcp", "unix"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("array", [X, LARGE], ids=["small", "large"])
class TestBytes:
    def test_split_anywhere(self, wire: Wire, array: np.ndarray[Any, Any]) -> None:
        raw = known_bytes(array)
        head = raw.index(b"\r\n\r\n") + 4
        json_end = len(raw) - array.nbytes
        for _ in range(2):
            wire.send(raw)
            assert np.array_equal(result(wire), array * 3)
        for at in (1, head - 2, head, head + 5, json_end - 1, json_end, json_end + 1, len(raw) - 1):
            wire.send(raw[:at])
            wire.send(raw[at:])
            assert np.array_equal(result(wire), array * 3)

    def test_followed_by_others_at_once(self, wire: Wire, array: np.ndarray[Any, Any]) -> None:
        for _ in range(2):
            wire.send(known_bytes(array))
            assert np.array_equal(result(wire), array * 3)
        probe = b"GET /v2/health/live HTTP/1.1\r\n\r\n"
        wire.send(
            known_bytes(array)
            + probe
            + known_bytes(array + 1, "bystander")
            + known_bytes(array + 2)
            + probe
        )
        assert np.array_equal(result(wire), array * 3)
        assert wire.answer()[0] == 200
        assert np.array_equal(result(wire), (array + 1) * 2)
        assert np.array_equal(result(wire), (array + 2) * 3)
        assert wire.answer()[0] == 200

    def test_other_models_and_shapes_between(self, wire: Wire, array: np.ndarray[Any, Any]) -> None:
        for number in range(6):
            x = array[: len(array) - number % 2 or 1] + number
            model, factor = (("victim", 3), ("bystander", 2))[number % 3 == 2]
            wire.send(known_bytes(x, model))
            assert np.array_equal(result(wire), x * factor)

    def test_the_same_head_before_other_json(self, wire: Wire, array: np.ndarray[Any, Any]) -> None:
        raw = known_bytes(array)
        for _ in range(2):
            wire.send(raw)
            assert np.array_equal(result(wire), array * 3)
        wire.send(raw.replace(b'"name": "x"', b'"name": "z"'))
        assert error_of(wire.answer())[0] == 400
        wire.send(raw)
        assert np.array_equal(result(wire), array * 3)

    def test_a_token_that_is_not_valid(self, wire: Wire, array: np.ndarray[Any, Any]) -> None:
        raw = known_bytes(array)
        for _ in range(2):
            wire.send(raw)
            assert np.array_equal(result(wire), array * 3)
        for name in (b"Authorization", b"AUTHORIZATION"):
            wire.send(raw.replace(b"\r\n", b"\r\n" + name + b": Bearer wrong\r\n", 1))
            assert wire.answer()[0] == 401
        wire.send(raw)
        assert np.array_equal(result(wire), array * 3)

    def test_in_chunks_after_the_same_head(self, wire: Wire, array: np.ndarray[Any, Any]) -> None:
        body, length = infer_body(array)
        head = (
            "POST /v2/models/victim/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
            f"Inference-Header-Content-Length: {length}\r\n\r\n"
        ).encode()
        for cut in (0, 1, 100, len(body) - 1):
            parts = [part for part in (body[:cut], body[cut:]) if part]
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            wire.send(head + chunks + b"0\r\n\r\n")
            assert np.array_equal(result(wire), array * 3)


@pytest.mark.usefixtures("bystander")
class TestTokenInEachRequest:
    """As tritonclient and others send them."""

    def test_it_is_recognised_and_answered(
        self, served: AcceleratorProcess, transport: str
    ) -> None:
        token = served.token()
        with Wire(served, unix=transport == "unix") as wire:
            for number in range(5):
                wire.send(known_bytes(X + number, token=token))
                assert np.array_equal(result(wire), (X + number) * 3)

    def test_it_opens_no_other_connection(self, served: AcceleratorProcess) -> None:
        token = served.token()
        with Wire(served) as wire, Wire(served) as stranger:
            for _ in range(3):
                wire.send(known_bytes(X, token=token))
                assert np.array_equal(result(wire), X * 3)
            stranger.send(known_bytes(X))
            assert stranger.answer()[0] == 401
            wire.send(known_bytes(X))
            assert np.array_equal(result(wire), X * 3)

    def test_it_ends_with_its_time(self, served: AcceleratorProcess) -> None:
        token = served.token(lifetime=1.0)
        with Wire(served) as wire:
            for _ in range(3):
                wire.send(known_bytes(X, token=token))
                assert np.array_equal(result(wire), X * 3)

            def refused() -> bool:
                wire.send(known_bytes(X, token=token))
                return wire.answer()[0] == 401

            until("the token expired", refused)
            wire.send(known_bytes(X, token=served.token()))
            assert np.array_equal(result(wire), X * 3)

    def test_another_that_is_valid_does_not_lengthen_it(self, served: AcceleratorProcess) -> None:
        short, long = served.token(lifetime=1.0), served.token()
        with Wire(served) as wire:
            for _ in range(3):
                wire.send(known_bytes(X, token=short))
                assert np.array_equal(result(wire), X * 3)

            def refused() -> bool:
                wire.send(known_bytes(X, token=long))
                assert np.array_equal(result(wire), X * 3)
                wire.send(known_bytes(X, token=short))
                return wire.answer()[0] == 401

            until("the short one expired", refused)
            wire.send(known_bytes(X, token=long))
            assert np.array_equal(result(wire), X * 3)

    def test_one_byte_of_it_matters(self, served: AcceleratorProcess) -> None:
        token = served.token()
        with Wire(served) as wire:
            for at in (4, len(token) // 2, len(token) - 1):
                for _ in range(2):
                    wire.send(known_bytes(X, token=token))
                    assert np.array_equal(result(wire), X * 3)
                other = "A" if token[at] != "A" else "B"
                wire.send(known_bytes(X, token=token[:at] + other + token[at + 1 :]))
                assert wire.answer()[0] == 401


def optional() -> bytes:
    """`y` is an optional FP32 tensor: `x` if `c`, else nothing."""
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    maybe = helper.make_optional_type_proto(kind)

    def branch(name: str, inputs: list[str]) -> Any:
        more = {} if inputs else {"type": kind}
        node = helper.make_node("Optional", inputs, [name], **more)
        return helper.make_graph([node], name, [], [helper.make_value_info(name, maybe)])

    chosen = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("a", ["x"]), else_branch=branch("b", [])
    )
    graph = helper.make_graph(
        [chosen],
        "g",
        [value_info("x", TensorProto.FLOAT, ["n"]), value_info("c", TensorProto.BOOL, [])],
        [helper.make_value_info("y", maybe)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(made.SerializeToString())


def test_an_output_that_is_not_there_the_next_time(
    served: AcceleratorProcess, bystander: object
) -> None:
    del bystander
    with unloaded(served, "optional"):
        load(served, "optional", optional())
        _ask_for_optional(served)


def _ask_for_optional(served: AcceleratorProcess) -> None:
    raw = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "datatype": datatype,
                    "shape": shape,
                    "parameters": {"binary_data_size": size},
                }
                for name, datatype, shape, size in (("x", "FP32", [1], 4), ("c", "BOOL", [], 1))
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    headers = (f"Inference-Header-Content-Length: {len(raw)}",)
    with Wire(served) as wire:
        wire.request("GET", "/v2")
        for chosen in (1, 1, 0, 1, 0, 0):
            status, fields, body = wire.request(
                "POST",
                "/v2/models/optional/infer",
                raw + np.float32(7).tobytes() + bytes([chosen]),
                headers=headers,
                token=None,
            )
            assert status == 200
            size = int(fields.get("inference-header-content-length", len(body)))
            assert json.loads(body[:size])["outputs"][0]["shape"] == [chosen]
            assert body[size:] == (np.float32(7).tobytes() if chosen else b"")


def test_memory_that_became_smaller_under_its_name(
    served: AcceleratorProcess, bystander: object
) -> None:
    del bystander
    entry = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 4],
        "parameters": {
            "shared_memory_region": "same",
            "shared_memory_offset": 4096,
            "shared_memory_byte_size": 16,
        },
    }
    raw = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    request = b"POST /v2/models/victim/infer HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (
        len(raw),
        raw,
    )
    with Wire(served, unix=True) as wire:
        with memfd(8192) as (descriptor, memory):
            memory[4096:4112] = X.tobytes()
            assert offer(wire, "same", [descriptor])[0] == 200
            for _ in range(3):
                wire.send(request)
                assert np.array_equal(result(wire), X * 3)
        forget = "/v2/elastic-inference/memory/same"
        assert wire.request("DELETE", forget, token=None)[0] == 200
        with memfd(4096) as (descriptor, _):
            assert offer(wire, "same", [descriptor])[0] == 200
            wire.send(request)
            assert error_of(wire.answer())[0] == 400
        assert wire.request("DELETE", forget, token=None)[0] == 200


def test_a_draining_accelerator_takes_none(
    start_accelerator: Callable[..., AcceleratorProcess],
) -> None:
    process = start_accelerator()
    load(process, "victim", scale_model(3))
    load(process, "slow", slow(60_000))
    with Wire(process) as wire, Wire(process) as working:
        for each in (wire, working):
            assert each.request("GET", "/v2")[0] == 200
        for _ in range(3):
            assert infer(wire, "victim", token=None).tolist() == (X * 3).tolist()
        send_infer(working, "slow", np.random.default_rng(1).random((120, 120), np.float32))
        wait_until_it_computes(process)
        process.process.send_signal(signal.SIGTERM)

        def listens_no_more() -> bool:
            try:
                process.connect().close()
            except OSError:
                return True
            return False

        until("the listener closed", listens_no_more)
        body, length = infer_body(X)
        status, error = error_of(
            wire.request(
                "POST",
                "/v2/models/victim/infer",
                body,
                headers=(f"Inference-Header-Content-Length: {length}",),
                token=None,
            )
        )
        assert (status, "shutting down" in error) == (503, True)
        assert working.answer()[0] == 200, "what ran is answered"
    assert process.process.wait(60.0) == 0
