"""Each endpoint and field of the Open Inference Protocol's text, and of Triton's extensions to it.

As a client would write that has read the specification and nothing else: JSON by hand.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.accelerator import graphs
from tests.accelerator.graphs import value_info
from tests.accelerator.http_client import Wire, load, scale_model
from tests.processes import AcceleratorProcess

# What a version of a model may stand behind, and what may not.
PREFIXES = ("/v2/models/choice", "/v2/models/choice/versions/1")
TENSOR = {"name": str, "datatype": str, "shape": list}
DURATION = {"count": int, "ns": int}
COMPUTED = dict.fromkeys(("compute_input", "compute_infer", "compute_output"), DURATION)


def choice() -> bytes:
    """`output0 = where(input1, input0, 0)` of UINT32[2, n] and BOOL[n], as in the text."""
    return graphs.model(
        [helper.make_node("Where", ["input1", "input0", "zero"], ["output0"])],
        [
            value_info("input0", TensorProto.UINT32, [2, "n"]),
            value_info("input1", TensorProto.BOOL, ["n"]),
        ],
        [value_info("output0", TensorProto.UINT32, [2, "n"])],
        {"zero": np.array(0, np.uint32)},
    )


REQUEST: dict[str, Any] = {
    "id": "42",
    "inputs": [
        {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
        {"name": "input1", "shape": [2], "datatype": "BOOL", "data": [True, False]},
    ],
    "outputs": [{"name": "output0"}],
}
ANSWER = {"name": "output0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 0, 3, 0]}


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "choice", choice())
    load(accelerator, "double", scale_model(2))
    return accelerator


@pytest.fixture
def wire(served: AcceleratorProcess) -> Iterator[Wire]:
    with Wire(served) as connection:
        yield connection


def ask(wire: Wire, method: str, path: str, document: Any = None) -> tuple[int, Any]:
    body = b"" if document is None else json.dumps(document).encode()
    status, headers, answer = wire.request(method, path, body)
    assert headers["content-type"] == "application/json"
    return status, json.loads(answer)


def has(document: Any, form: Any) -> None:
    """Exactly the members of `form`, each of its type."""
    if isinstance(form, dict):
        assert set(document) == set(form)
        for name, inner in form.items():
            has(document[name], inner)
    elif isinstance(form, list):
        assert document
        for each in document:
            has(each, form[0])
    else:
        assert type(document) is form


class TestRequiredApi:
    def test_health(self, wire: Wire) -> None:
        assert ask(wire, "GET", "/v2/health/live") == (200, {"live": True})
        assert ask(wire, "GET", "/v2/health/ready") == (200, {"live": True, "ready": True})
        for prefix in PREFIXES:
            answer = {"name": "choice", "ready": True}
            assert ask(wire, "GET", f"{prefix}/ready") == (200, answer)
        assert ask(wire, "GET", "/v2/models/no/ready") == (404, {"name": "no", "ready": False})
        assert ask(wire, "GET", "/v2/models/choice/versions/2/ready")[0] == 404

    @pytest.mark.parametrize("path", ["/v2", "/v2/"])
    def test_server_metadata(self, wire: Wire, path: str) -> None:
        status, document = ask(wire, "GET", path)
        assert status == 200
        has(document, {"name": str, "version": str, "extensions": [str]})

    @pytest.mark.parametrize("path", PREFIXES)
    def test_model_metadata(self, wire: Wire, path: str) -> None:
        status, document = ask(wire, "GET", path)
        assert status == 200
        form = {"name": str, "versions": [str], "platform": str}
        has(document, {**form, "inputs": [TENSOR], "outputs": [TENSOR]})
        assert document["inputs"] == [
            {"name": "input0", "datatype": "UINT32", "shape": [2, -1]},
            {"name": "input1", "datatype": "BOOL", "shape": [-1]},
        ]

    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_inference(self, wire: Wire, prefix: str) -> None:
        status, document = ask(wire, "POST", f"{prefix}/infer", REQUEST)
        assert status == 200
        assert document == {
            "id": "42",
            "model_name": "choice",
            "model_version": "1",
            "outputs": [ANSWER],
        }

    @pytest.mark.parametrize(
        "change",
        [
            {"outputs": []},
            {"outputs": [{"name": "output0", "parameters": {"binary_data": False, "mine": 1}}]},
            {"parameters": {}},
            {"parameters": {"my_custom_parameter": 42, "text": "x", "flag": True}},
            {"parameters": {"sequence_id": 7, "sequence_start": True, "sequence_end": False}},
            {"parameters": {"sequence_id": "text", "priority": 2, "timeout": 1}},
            {"parameters": {"triton_enable_empty_final_response": True}},
            {"model_name": "choice"},
        ],
    )
    def test_optional_members(self, wire: Wire, change: dict[str, Any]) -> None:
        status, document = ask(wire, "POST", "/v2/models/choice/infer", {**REQUEST, **change})
        assert status == 200
        assert document["outputs"] == [ANSWER]

    def test_without_any_optional_member(self, wire: Wire) -> None:
        status, document = ask(
            wire, "POST", "/v2/models/choice/infer", {"inputs": REQUEST["inputs"]}
        )
        assert status == 200
        assert set(document) == {"model_name", "model_version", "outputs"}

    @pytest.mark.parametrize("data", [[[1, 2], [3, 4]], [1, 2, 3, 4], [[[1], [2]], [[3], [4]]]])
    def test_data_may_be_nested(self, wire: Wire, data: list[Any]) -> None:
        first, second = REQUEST["inputs"]
        request = {"inputs": [{**first, "data": data, "parameters": {}}, second]}
        status, document = ask(wire, "POST", "/v2/models/choice/infer", request)
        assert (status, document["outputs"]) == (200, [ANSWER])

    @pytest.mark.parametrize(
        ("method", "path", "document"),
        [
            ("GET", "/v2/models/no", None),
            ("GET", "/v2/models/no/config", None),
            ("GET", "/v2/models/no/stats", None),
            ("GET", "/v2/models/choice/versions/2/stats", None),
            ("GET", "/v2/systemsharedmemory/region/no/status", None),
            ("GET", "/v2/cudasharedmemory/region/no/status", None),
            ("POST", "/v2/models/no/infer", REQUEST),
            ("POST", "/v2/models/choice/infer", {}),
            ("POST", "/v2/models/choice/infer", [REQUEST]),
            ("POST", "/v2/models/choice/infer", {**REQUEST, "id": 42}),
            ("POST", "/v2/models/choice/infer", {**REQUEST, "parameters": []}),
            ("POST", "/v2/repository/models/no/load", {}),
            ("POST", "/v2/repository/models/no/unload", {}),
            ("POST", "/v2/systemsharedmemory/region/no/register", {}),
            ("POST", "/v2/cudasharedmemory/region/no/register", {}),
        ],
    )
    def test_a_failure_is_told_in_the_body(
        self, wire: Wire, method: str, path: str, document: Any
    ) -> None:
        status, answer = ask(wire, method, path, document)
        assert 400 <= status < 500
        assert type(answer["error"]) is str
        assert answer["error"]


class TestBinaryData:
    def test_the_text_s_example(self, wire: Wire) -> None:
        first, second = (
            {key: value for key, value in entry.items() if key != "data"}
            for entry in REQUEST["inputs"]
        )
        request = {
            "model_name": "choice",
            "inputs": [
                {**first, "parameters": {"binary_data_size": 16}},
                {**second, "parameters": {"binary_data_size": 2}},
            ],
            "outputs": [{"name": "output0", "parameters": {"binary_data": True}}],
        }
        head = json.dumps(request).encode()
        tensors = np.array([1, 2, 3, 4], "<u4").tobytes() + b"\x01\x00"
        status, headers, body = wire.request(
            "POST",
            "/v2/models/choice/infer",
            head + tensors,
            headers=(
                "Content-Type: application/octet-stream",
                f"Inference-Header-Content-Length: {len(head)}",
            ),
        )
        assert status == 200
        assert headers["content-type"] == "application/octet-stream"
        length = int(headers["inference-header-content-length"])
        (output,) = json.loads(body[:length])["outputs"]
        assert output["parameters"] == {"binary_data_size": 16}
        assert "data" not in output
        assert np.frombuffer(body[length:], "<u4").tolist() == [1, 0, 3, 0]

    @pytest.mark.parametrize(
        ("all_", "one", "binary"),
        [
            (True, None, True),
            (True, False, False),
            (False, True, True),
            (False, None, False),
            (None, None, False),
        ],
    )
    def test_an_output_s_form(
        self, wire: Wire, all_: bool | None, one: bool | None, binary: bool
    ) -> None:
        request = {**REQUEST, "parameters": {} if all_ is None else {"binary_data_output": all_}}
        if one is not None:
            request["outputs"] = [{"name": "output0", "parameters": {"binary_data": one}}]
        body = json.dumps(request).encode()
        status, headers, _ = wire.request("POST", "/v2/models/choice/infer", body)
        assert status == 200
        assert ("inference-header-content-length" in headers) is binary


class TestExtensions:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_statistics_of_a_model(self, wire: Wire, prefix: str) -> None:
        assert ask(wire, "POST", "/v2/models/choice/infer", REQUEST)[0] == 200
        status, document = ask(wire, "GET", f"{prefix}/stats")
        assert status == 200
        has(
            document["model_stats"],
            [
                {
                    "name": str,
                    "version": str,
                    "last_inference": int,
                    "inference_count": int,
                    "execution_count": int,
                    "inference_stats": {
                        **dict.fromkeys(("success", "fail", "queue"), DURATION),
                        **COMPUTED,
                        **dict.fromkeys(("cache_hit", "cache_miss"), DURATION),
                    },
                    "response_stats": {},
                    "batch_stats": [{"batch_size": int, **COMPUTED}],
                    "memory_usage": list,
                }
            ],
        )

    def test_statistics_of_all_models(self, wire: Wire) -> None:
        status, document = ask(wire, "GET", "/v2/models/stats")
        assert status == 200
        assert {"choice", "double"} <= {each["name"] for each in document["model_stats"]}

    @pytest.mark.parametrize("document", [None, {}, {"ready": False}, {"ready": True}])
    def test_repository_index(self, wire: Wire, document: Any) -> None:
        status, entries = ask(wire, "POST", "/v2/repository/index", document)
        assert status == 200
        has(entries, [{"name": str, "version": str, "state": str, "reason": str}])
        assert {"choice", "double"} <= {each["name"] for each in entries}

    def test_load_and_unload_without_a_body(self, wire: Wire) -> None:
        load(wire.process, "passing", scale_model(3))
        assert ask(wire, "POST", "/v2/repository/models/passing/load")[0] == 200
        assert ask(wire, "POST", "/v2/repository/models/passing/unload")[0] == 200
        assert ask(wire, "GET", "/v2/models/passing/ready")[0] == 404

    def test_no_regions(self, wire: Wire) -> None:
        for kind in ("system", "cuda"):
            assert ask(wire, "GET", f"/v2/{kind}sharedmemory/status") == (200, [])
            for path in ("unregister", "region/no/unregister"):
                assert ask(wire, "POST", f"/v2/{kind}sharedmemory/{path}")[0] == 200

    @pytest.mark.parametrize(
        ("parameters", "why"),
        [
            ({"shared_memory_region": "r"}, "both of"),
            ({"shared_memory_byte_size": 16}, "both of"),
            ({"shared_memory_region": "r", "shared_memory_byte_size": 16}, "two forms"),
            ({"binary_data_size": 16}, "two forms"),
        ],
    )
    def test_one_tensor_comes_one_way(
        self, wire: Wire, parameters: dict[str, Any], why: str
    ) -> None:
        first, second = REQUEST["inputs"]
        request = {"inputs": [{**first, "parameters": parameters}, second]}
        status, document = ask(wire, "POST", "/v2/models/choice/infer", request)
        assert status == 400
        assert why in document["error"]
        assert "'input0'" in document["error"]

    @pytest.mark.parametrize(
        "parameters", [{"shared_memory_region": "r"}, {"shared_memory_byte_size": 16}]
    )
    def test_an_output_s_region_has_a_size(self, wire: Wire, parameters: dict[str, Any]) -> None:
        request = {**REQUEST, "outputs": [{"name": "output0", "parameters": parameters}]}
        status, document = ask(wire, "POST", "/v2/models/choice/infer", request)
        assert status == 400
        assert "both of" in document["error"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
class TestCurl:
    def curl(self, served: AcceleratorProcess, path: str, *options: str) -> Any:
        done = subprocess.run(
            [
                *("curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60"),
                *("-H", f"Authorization: Bearer {served.token()}", *options),
                f"http://127.0.0.1:{served.port}{path}",
            ],
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)

    def test_with_json_on_the_command_line(self, served: AcceleratorProcess) -> None:
        assert self.curl(served, "/v2")["name"] == "elastic-inference"
        document = self.curl(served, "/v2/models/choice/infer", "-d", json.dumps(REQUEST))
        assert document["outputs"] == [ANSWER]

    @pytest.mark.parametrize("options", [(), ("--compressed",), ("-H", "Accept-Encoding: gzip")])
    def test_with_a_large_file(
        self, served: AcceleratorProcess, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        """Which it sends after `100 Continue`."""
        values = np.random.default_rng(0).random((40_000, 4), np.float32)
        entry = {"name": "x", "shape": [40_000, 4], "datatype": "FP32", "data": values.tolist()}
        path = tmp_path / "request.json"
        path.write_text(json.dumps({"inputs": [entry]}), encoding="utf-8")
        if "-H" in options:
            options = ("--compressed", *options)
        document = self.curl(served, "/v2/models/double/infer", "-d", f"@{path}", *options)
        found = np.array(document["outputs"][0]["data"], np.float32)
        assert found.tobytes() == (values * np.float32(2)).tobytes()
