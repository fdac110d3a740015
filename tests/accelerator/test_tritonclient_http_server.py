"""tritonclient's HTTP client runs the server: repository, statistics, shared memory, settings."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.http as triton
from onnx import TensorProto
from tritonclient.utils import InferenceServerException, serialize_byte_tensor, shared_memory

from tests.accelerator import graphs
from tests.accelerator.engines import local
from tests.accelerator.http_client import scale_model
from tests.accelerator.triton import CONFIG, connect, load, same, wire_input
from tests.processes import AcceleratorProcess

X = np.arange(4, dtype=np.float32).reshape(1, 4)
DURATIONS = (
    *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
    *("cache_hit", "cache_miss"),
)


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    with connect(accelerator) as client:
        load(client, "double", scale_model(2))
    return accelerator


@pytest.fixture
def client(served: AcceleratorProcess) -> Iterator[Any]:
    with connect(served) as connected:
        yield connected


def refused(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        call(*args, **options)
    return caught.value.status(), caught.value.message()


def double(client: Any, array: np.ndarray[Any, Any] = X, model: str = "double") -> Any:
    return client.infer(model, [wire_input("x", array)]).as_numpy("y")


class TestMetadata:
    def test_server(self, client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        metadata = client.get_server_metadata()
        assert metadata["name"] == "elastic-inference"
        assert metadata["version"]
        assert set(metadata["extensions"]) == {
            *("binary_tensor_data", "elastic_inference", "model_configuration"),
            *("model_repository", "model_repository(unload_dependents)", "statistics"),
            "system_shared_memory",
        }

    @pytest.mark.parametrize("version", ["", "1"])
    def test_model(self, client: Any, version: str) -> None:
        assert client.is_model_ready("double", version)
        assert client.get_model_metadata("double", version) == {
            "name": "double",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
        }
        config = client.get_model_config("double", version)
        assert (config["name"], config["platform"]) == ("double", "onnxruntime_onnx")
        assert (config["backend"], config["max_batch_size"]) == ("onnxruntime", 0)
        assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}]
        assert config["output"] == [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1, 4]}]

    def test_unknown_models_and_versions(self, client: Any) -> None:
        for name, version in (("nothing", ""), ("double", "2"), ("double", "x")):
            assert not client.is_model_ready(name, version)
            for call in (
                *(client.get_model_metadata, client.get_model_config),
                client.get_inference_statistics,
            ):
                status, message = refused(call, name, version)
                assert status == "404"
                assert f"'{name}'" in message


class TestRepository:
    def index(self, client: Any) -> dict[str, dict[str, str]]:
        return {entry["name"]: entry for entry in client.get_model_repository_index()}

    def test_load_infer_unload(self, client: Any) -> None:
        load(client, "passing", scale_model(5))
        assert self.index(client)["passing"] == {
            "name": "passing",
            "version": "1",
            "state": "READY",
            "reason": "",
        }
        same([double(client, model="passing")], [X * 5])
        client.load_model("passing")
        client.unload_model("passing", unload_dependents=True)
        assert not client.is_model_ready("passing")
        assert "passing" not in self.index(client)
        assert refused(client.unload_model, "passing")[0] == "404"
        assert refused(client.load_model, "passing")[0] == "404"

    def test_a_loaded_model_is_replaced(self, client: Any) -> None:
        for factor in (3, 4, 3):
            load(client, "changing", scale_model(factor))
            same([double(client, model="changing")], [X * factor])

    def test_the_configuration_is_compared_with_the_model(self, client: Any) -> None:
        tensor = {"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}
        config = {
            "name": "described",
            "platform": "onnxruntime_onnx",
            "max_batch_size": 0,
            "default_model_filename": "other.onnx",
            "input": [tensor],
            "output": [{**tensor, "name": "y"}],
            "instance_group": [{"kind": "KIND_CPU", "count": 1}],
            "version_policy": {"latest": {"num_versions": 1}},
        }
        files = {"file:1/other.onnx": scale_model(6)}
        client.load_model("described", config=json.dumps(config), files=files)
        same([double(client, model="described")], [X * 6])
        for change, why in (
            ({"name": "else"}, "another name"),
            ({"platform": "tensorrt_plan"}, "tensorrt_plan"),
            ({"backend": "python"}, "python"),
            ({"input": [{**tensor, "name": "z"}]}, "'z'"),
            ({"input": [{**tensor, "data_type": "TYPE_INT64"}]}, "'INT64'"),
            ({"default_model_filename": "model.onnx"}, "No model file"),
        ):
            wrong = json.dumps({**config, **change})
            status, message = refused(client.load_model, "described", config=wrong, files=files)
            assert status == "400"
            assert why in message
        same([double(client, model="described")], [X * 6])

    @pytest.mark.parametrize("name", ["a name", "50%41", "ü€", "a?b=c&d#e", "x" * 256])
    def test_names_of_any_characters(self, client: Any, name: str) -> None:
        load(client, name, scale_model(7))
        assert self.index(client)[name]["state"] == "READY"
        result = client.infer(name, [wire_input("x", X)])
        assert result.get_response()["model_name"] == name
        same([result.as_numpy("y")], [X * 7])
        client.unload_model(name)
        assert not client.is_model_ready(name)

    def test_a_failed_load_is_told_in_the_index(self, client: Any) -> None:
        files = {"file:1/model.onnx": b"no model"}
        status, message = refused(client.load_model, "broken", config=CONFIG, files=files)
        assert status == "400"
        entry = self.index(client)["broken"]
        assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", message)
        assert not client.is_model_ready("broken")

    def test_external_data_comes_beside_the_model(self, client: Any, tmp_path: Path) -> None:
        data = graphs.network()
        path = tmp_path / "model.onnx"
        onnx.save_model(
            onnx.load_from_string(data),
            str(path),
            save_as_external_data=True,
            location="weights.bin",
            size_threshold=0,
        )
        files = {f"file:1/{file.name}": file.read_bytes() for file in tmp_path.iterdir()}
        assert set(files) == {"file:1/model.onnx", "file:1/weights.bin"}
        feed = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
        client.load_model("network", config=CONFIG, files=files)
        result = client.infer("network", [wire_input("x", feed)])
        same([result.as_numpy("y")], local(data).run(None, {"x": feed}))


class TestStatistics:
    def of(self, client: Any, name: str) -> dict[str, Any]:
        (entry,) = client.get_inference_statistics(name)["model_stats"]
        found: dict[str, Any] = entry
        return found

    def test_all_fields_count(self, client: Any) -> None:
        load(client, "counted", scale_model(8))
        fresh = self.of(client, "counted")
        assert (fresh["inference_count"], fresh["last_inference"]) == (0, 0)
        assert fresh["batch_stats"] == []
        began = time.time() * 1000
        for array in (X, np.concatenate([X, X]), X):
            double(client, array, "counted")
        assert refused(client.infer, "counted", [wire_input("z", X)])[0] == "400"
        entry = self.of(client, "counted")
        assert (entry["name"], entry["version"]) == ("counted", "1")
        assert (entry["inference_count"], entry["execution_count"]) == (3, 3)
        assert began - 1 <= entry["last_inference"] <= time.time() * 1000 + 1
        stats = entry["inference_stats"]
        assert tuple(stats) == DURATIONS
        counts = [stats[name]["count"] for name in DURATIONS]
        assert counts == [3, 1, 3, 3, 3, 3, 0, 0]
        parts = [stats[name]["ns"] for name in DURATIONS[3:6]]
        assert all(each > 0 for each in parts)
        assert stats["fail"]["ns"] > 0
        assert abs(stats["success"]["ns"] - sum(parts)) <= len(parts)
        (batch,) = entry["batch_stats"]
        assert batch == {"batch_size": 1, **{name: stats[name] for name in DURATIONS[3:6]}}
        assert (entry["response_stats"], entry["memory_usage"]) == ({}, [])

    def test_compressed_and_json_requests_count_alike(self, client: Any) -> None:
        before = self.of(client, "double")["inference_count"]
        client.infer("double", [wire_input("x", X)], response_compression_algorithm="gzip")
        client.infer("double", [wire_input("x", X)], request_compression_algorithm="deflate")
        client.infer("double", [wire_input("x", X, binary=False)])
        assert self.of(client, "double")["inference_count"] == before + 3

    def test_of_all_models_and_of_a_version(self, client: Any) -> None:
        load(client, "idle", scale_model(9))
        entries = client.get_inference_statistics()["model_stats"]
        assert {"double", "idle"} <= {entry["name"] for entry in entries}
        (entry,) = client.get_inference_statistics("idle", "1")["model_stats"]
        assert entry["inference_count"] == 0

    def test_of_what_is_loaded_alone(self, client: Any) -> None:
        load(client, "brief", scale_model(11))
        double(client, model="brief")
        client.unload_model("brief")
        entries = client.get_inference_statistics()["model_stats"]
        assert "brief" not in {entry["name"] for entry in entries}
        for entry in entries:
            assert self.of(client, entry["name"])["name"] == entry["name"]

    def test_a_model_named_stats_has_its_own(self, client: Any) -> None:
        load(client, "stats", scale_model(10))
        (entry,) = client.get_inference_statistics("stats")["model_stats"]
        assert entry["name"] == "stats"


@pytest.fixture
def region(client: Any) -> Iterator[tuple[str, Any]]:
    """A registered region of 4 KiB: its name and tritonclient's handle of it."""
    name = f"r{uuid.uuid4().hex}"
    handle = shared_memory.create_shared_memory_region(name, f"/{name}", 4096)
    try:
        client.register_system_shared_memory(name, f"/{name}", 4096)
        yield name, handle
    finally:
        client.unregister_system_shared_memory(name)
        shared_memory.destroy_shared_memory_region(handle)


class TestSharedMemory:
    def test_tensors_go_in_and_out_by_it(self, client: Any, region: tuple[str, Any]) -> None:
        name, handle = region
        for factor in (1, 3):
            shared_memory.set_shared_memory_region(handle, [X * factor], offset=64)
            wired = triton.InferInput("x", [1, 4], "FP32")
            wired.set_shared_memory(name, X.nbytes, offset=64)
            output = triton.InferRequestedOutput("y")
            output.set_shared_memory(name, X.nbytes, offset=1024)
            result = client.infer("double", [wired], outputs=[output])
            told = result.get_output("y")
            assert told["parameters"] == {
                "shared_memory_region": name,
                "shared_memory_offset": 1024,
                "shared_memory_byte_size": X.nbytes,
            }
            assert "data" not in told
            found = shared_memory.get_contents_as_numpy(handle, np.float32, [1, 4], offset=1024)
            same([found], [X * factor * 2])
        output.unset_shared_memory()
        same([client.infer("double", [wired], outputs=[output]).as_numpy("y")], [X * 6])

    def test_strings_go_by_it(self, client: Any, region: tuple[str, Any]) -> None:
        name, handle = region
        load(client, "text", graphs.identity(TensorProto.STRING))
        texts = np.array([b"", b"some text", "ü€".encode()], np.object_)
        raw = serialize_byte_tensor(texts)
        shared_memory.set_shared_memory_region(handle, [raw])
        wired = triton.InferInput("x", [3], "BYTES")
        wired.set_shared_memory(name, len(raw.item()))
        output = triton.InferRequestedOutput("y")
        output.set_shared_memory(name, 1024, offset=1024)
        client.infer("text", [wired], outputs=[output])
        found = shared_memory.get_contents_as_numpy(handle, np.object_, [3], offset=1024)
        same([found], [texts])

    def test_status(self, client: Any, region: tuple[str, Any]) -> None:
        name, _ = region
        wanted = {"name": name, "key": f"/{name}", "offset": 0, "byte_size": 4096}
        assert client.get_system_shared_memory_status(name) == [wanted]
        assert wanted in client.get_system_shared_memory_status()
        client.unregister_system_shared_memory()
        assert client.get_system_shared_memory_status() == []
        assert refused(client.get_system_shared_memory_status, name)[0] == "404"
        client.unregister_system_shared_memory(name)

    def test_mistakes_are_told(self, client: Any, region: tuple[str, Any]) -> None:
        name, _ = region
        status, message = refused(client.register_system_shared_memory, name, f"/{name}", 4096)
        assert status == "409"
        assert "registered already" in message
        status, message = refused(client.register_system_shared_memory, "large", f"/{name}", 9999)
        assert status == "400"
        assert "do not fit" in message
        status, message = refused(client.register_system_shared_memory, "none", "/ei-none", 64)
        assert status == "400"
        assert "/ei-none" in message
        wired = triton.InferInput("x", [1, 4], "FP32")
        wired.set_shared_memory(name, X.nbytes, offset=4090)
        assert refused(client.infer, "double", [wired])[0] == "400"
        wired.set_shared_memory("unknown", X.nbytes)
        status, message = refused(client.infer, "double", [wired])
        assert (status, "'unknown'" in message) == ("400", True)
        output = triton.InferRequestedOutput("y")
        output.set_shared_memory(name, 8)
        status, message = refused(client.infer, "double", [wire_input("x", X)], outputs=[output])
        assert (status, "16 bytes" in message) == ("400", True)


class TestWhatIsNotOffered:
    def test_device_memory(self, client: Any) -> None:
        assert client.get_cuda_shared_memory_status() == []
        status, message = refused(client.get_cuda_shared_memory_status, "mine")
        assert (status, "'mine'" in message) == ("404", True)
        status, message = refused(client.register_cuda_shared_memory, "mine", b"aGFuZGxl", 0, 64)
        assert (status, "CUDA shared memory is not offered" in message) == ("400", True)
        client.unregister_cuda_shared_memory("mine")
        client.unregister_cuda_shared_memory()

    def test_trace_and_log_settings(self, client: Any) -> None:
        for call, args in (
            (client.get_trace_settings, ()),
            (client.get_trace_settings, ("double",)),
            (client.update_trace_settings, ("double", {"trace_rate": "1"})),
            (client.update_trace_settings, (None, {"trace_rate": "1"})),
            (client.get_log_settings, ()),
            (client.update_log_settings, ({"log_verbose_level": 1},)),
        ):
            status, message = refused(call, *args)
            assert status == "503"
            assert "does not offer" in message

    @pytest.mark.parametrize("action", ["generate", "generate_stream"])
    @pytest.mark.parametrize("version", ["", "/versions/1"])
    def test_generation(self, served: AcceleratorProcess, action: str, version: str) -> None:
        status, _, body = served.request(
            "POST", f"/v2/models/double{version}/{action}", {"text_input": "a"}
        )
        assert status == 404
        assert "generate extension is not offered" in json.loads(body)["error"]
