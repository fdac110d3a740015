"""tritonclient's gRPC client runs the server: repository, statistics, shared memory, settings."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import serialize_byte_tensor, shared_memory

from tests.accelerator import graphs
from tests.accelerator.engines import local
from tests.accelerator.grpc_client import HEALTH_WATCH, channel, unary
from tests.accelerator.http_client import scale_model
from tests.accelerator.triton import CONFIG, same
from tests.accelerator.triton_grpc import X, connect, load, refused, wire_input
from tests.processes import AcceleratorProcess

DURATIONS = (
    *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
    *("cache_hit", "cache_miss"),
)
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
# HealthCheckResponse, with a status as its only field.
SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x03"


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    with connect(accelerator) as client:
        load(client, "double", scale_model(2))
    return accelerator


@pytest.fixture
def client(served: AcceleratorProcess) -> Iterator[Any]:
    with connect(served) as connected:
        yield connected


def double(client: Any, array: np.ndarray[Any, Any] = X, model: str = "double") -> Any:
    return client.infer(model, [wire_input("x", array)]).as_numpy("y")


class TestMetadata:
    def test_server(self, client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        metadata = client.get_server_metadata()
        assert metadata.name == "elastic-inference"
        assert metadata.version
        assert {"model_repository", "statistics", "system_shared_memory"} <= set(
            metadata.extensions
        )

    @pytest.mark.parametrize("version", ["", "1"])
    def test_model(self, client: Any, version: str) -> None:
        assert client.is_model_ready("double", version)
        metadata = client.get_model_metadata("double", version, as_json=True)
        assert metadata == {
            "name": "double",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "4"]}],
        }
        config = client.get_model_config("double", version).config
        assert (config.name, config.platform) == ("double", "onnxruntime_onnx")
        assert (config.backend, config.max_batch_size) == ("onnxruntime", 0)
        for (tensor,), name in ((config.input, "x"), (config.output, "y")):
            assert tensor.name == name
            assert tensor.data_type == model_config_pb2.TYPE_FP32
            assert list(tensor.dims) == [-1, 4]

    def test_unknown_models_and_versions(self, client: Any) -> None:
        for name, version in (("nothing", ""), ("double", "2"), ("double", "x")):
            assert not client.is_model_ready(name, version)
            for call in (
                *(client.get_model_metadata, client.get_model_config),
                client.get_inference_statistics,
            ):
                status, message = refused(call, name, version)
                assert (status, f"'{name}'" in message) == ("NOT_FOUND", True)


class TestRepository:
    def index(self, client: Any) -> dict[str, Any]:
        return {entry.name: entry for entry in client.get_model_repository_index().models}

    def test_load_infer_unload(self, client: Any) -> None:
        load(client, "passing", scale_model(5))
        entry = self.index(client)["passing"]
        assert (entry.version, entry.state, entry.reason) == ("1", "READY", "")
        same([double(client, model="passing")], [X * 5])
        client.load_model("passing")
        client.unload_model("passing", unload_dependents=True)
        assert not client.is_model_ready("passing")
        assert "passing" not in self.index(client)
        assert refused(client.unload_model, "passing")[0] == "NOT_FOUND"
        assert refused(client.load_model, "passing")[0] == "NOT_FOUND"

    def test_a_loaded_model_is_replaced(self, client: Any) -> None:
        for factor, output in ((3, "y"), (4, "y"), (3, "z")):
            load(client, "changing", scale_model(factor, output))
            for _ in range(2):
                result = client.infer("changing", [wire_input("x", X)])
                same([result.as_numpy(output)], [X * factor])

    @pytest.mark.parametrize("name", ["a name", "50%41", "ü€", "a?b=c&d#e", "x" * 256])
    def test_names_of_any_characters(self, client: Any, name: str) -> None:
        load(client, name, scale_model(7))
        assert self.index(client)[name].state == "READY"
        for request_id in ("", "1", "2"):
            result = client.infer(name, [wire_input("x", X)], request_id=request_id)
            assert result.get_response().model_name == name
            same([result.as_numpy("y")], [X * 7])
        client.unload_model(name)
        assert not client.is_model_ready(name)

    def test_a_failed_load_is_told_in_the_index(self, client: Any) -> None:
        files = {"file:1/model.onnx": b"no model"}
        status, message = refused(client.load_model, "broken", config=CONFIG, files=files)
        assert status == "INVALID_ARGUMENT"
        entry = self.index(client)["broken"]
        assert entry.state == "UNAVAILABLE"
        assert entry.reason in message
        assert not client.is_model_ready("broken")

    @pytest.mark.parametrize(
        ("config", "why"),
        [
            ('{"platform": "tensorrt_plan"}', "tensorrt_plan"),
            ('{"backend": "python"}', "python"),
            ('{"name": "else"}', "another name"),
            ("no JSON", "not JSON"),
        ],
    )
    def test_configurations_that_do_not_fit(self, client: Any, config: str, why: str) -> None:
        files = {"file:1/model.onnx": scale_model(6)}
        status, message = refused(client.load_model, "described", config=config, files=files)
        assert (status, why in message) == ("INVALID_ARGUMENT", True)

    def test_external_data_comes_beside_the_model(self, client: Any, tmp_path: Path) -> None:
        data = graphs.network()
        onnx.save_model(
            onnx.load_from_string(data),
            str(tmp_path / "model.onnx"),
            save_as_external_data=True,
            location="weights.bin",
            size_threshold=0,
        )
        files = {f"file:1/{file.name}": file.read_bytes() for file in tmp_path.iterdir()}
        assert set(files) == {"file:1/model.onnx", "file:1/weights.bin"}
        feed = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
        client.load_model("network", config=json.dumps({"backend": "onnxruntime"}), files=files)
        result = client.infer("network", [wire_input("x", feed)])
        same([result.as_numpy("y")], local(data).run(None, {"x": feed}))


class TestStatistics:
    def of(self, client: Any, name: str) -> Any:
        (entry,) = client.get_inference_statistics(name).model_stats
        return entry

    def test_all_fields_count(self, client: Any) -> None:
        load(client, "counted", scale_model(8))
        fresh = self.of(client, "counted")
        assert (fresh.inference_count, fresh.last_inference) == (0, 0)
        assert not fresh.batch_stats
        began = time.time() * 1000
        for array in (X, np.concatenate([X, X]), X):
            double(client, array, "counted")
        wrong = refused(client.infer, "counted", [wire_input("z", X)])
        assert wrong[0] == "INVALID_ARGUMENT"
        entry = self.of(client, "counted")
        assert (entry.name, entry.version) == ("counted", "1")
        assert (entry.inference_count, entry.execution_count) == (3, 3)
        assert began - 1 <= entry.last_inference <= time.time() * 1000 + 1
        stats = [getattr(entry.inference_stats, name) for name in DURATIONS]
        assert [each.count for each in stats] == [3, 1, 3, 3, 3, 3, 0, 0]
        assert all(each.ns > 0 for each in (stats[1], *stats[3:6]))
        assert abs(stats[0].ns - sum(each.ns for each in stats[3:6])) <= 3
        (batch,) = entry.batch_stats
        assert batch.batch_size == 1
        assert batch.compute_infer == entry.inference_stats.compute_infer

    def test_of_all_models(self, client: Any) -> None:
        load(client, "idle", scale_model(9))
        entries = client.get_inference_statistics().model_stats
        assert {"double", "idle"} <= {entry.name for entry in entries}
        (entry,) = client.get_inference_statistics("idle", "1").model_stats
        assert entry.inference_count == 0


@pytest.fixture
def region(client: Any) -> Iterator[tuple[str, Any]]:
    """A registered region of 4 KiB: its name and tritonclient's handle of it."""
    name = f"g{uuid.uuid4().hex}"
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
            response = client.infer("double", [wired], outputs=[output]).get_response()
            (told,) = response.outputs
            assert told.parameters["shared_memory_region"].string_param == name
            assert told.parameters["shared_memory_offset"].int64_param == 1024
            assert told.parameters["shared_memory_byte_size"].int64_param == X.nbytes
            assert list(response.raw_output_contents) == [b""]
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
        for status in (
            client.get_system_shared_memory_status(name),
            client.get_system_shared_memory_status(),
        ):
            entry = status.regions[name]
            assert (entry.name, entry.key) == (name, f"/{name}")
            assert (entry.offset, entry.byte_size) == (0, 4096)
        client.unregister_system_shared_memory()
        assert not client.get_system_shared_memory_status().regions
        assert refused(client.get_system_shared_memory_status, name)[0] == "NOT_FOUND"

    def test_mistakes_are_told(self, client: Any, region: tuple[str, Any]) -> None:
        name, _ = region
        register = client.register_system_shared_memory
        status, message = refused(register, name, f"/{name}", 4096)
        assert (status, "registered already" in message) == ("ABORTED", True)
        status, message = refused(register, "large", f"/{name}", 9999)
        assert (status, "do not fit" in message) == ("INVALID_ARGUMENT", True)
        status, message = refused(register, "none", "/ei-none", 64)
        assert (status, "/ei-none" in message) == ("INVALID_ARGUMENT", True)
        wired = triton.InferInput("x", [1, 4], "FP32")
        wired.set_shared_memory(name, X.nbytes, offset=4090)
        assert refused(client.infer, "double", [wired])[0] == "INVALID_ARGUMENT"
        output = triton.InferRequestedOutput("y")
        output.set_shared_memory(name, 8)
        status, message = refused(client.infer, "double", [wire_input("x", X)], outputs=[output])
        assert (status, "16 bytes" in message) == ("INVALID_ARGUMENT", True)


class TestWhatIsNotOffered:
    def test_device_memory(self, client: Any) -> None:
        assert not client.get_cuda_shared_memory_status().regions
        status, message = refused(client.get_cuda_shared_memory_status, "mine")
        assert (status, "'mine'" in message) == ("NOT_FOUND", True)
        status, message = refused(client.register_cuda_shared_memory, "mine", b"aGFuZGxl", 0, 64)
        assert status == "INVALID_ARGUMENT"
        assert "CUDA shared memory is not offered" in message
        client.unregister_cuda_shared_memory("mine")
        client.unregister_cuda_shared_memory()

    def test_trace_and_log_settings(self, client: Any) -> None:
        for call, args in (
            (client.get_trace_settings, ()),
            (client.update_trace_settings, ("double", {"trace_rate": "1"})),
            (client.get_log_settings, ()),
            (client.update_log_settings, ({"log_verbose_level": 1},)),
        ):
            status, message = refused(call, *args)
            assert (status, "does not offer" in message) == ("UNAVAILABLE", True)


class TestHealth:
    @pytest.mark.parametrize("service", [b"", b"inference.GRPCInferenceService"])
    def test_known_services_serve(self, served: AcceleratorProcess, service: bytes) -> None:
        request = bytes([0x0A, len(service)]) + service if service else b""
        with channel(served) as opened:
            assert unary(opened, HEALTH_CHECK)(request) == SERVING
            watch = opened.unary_stream(HEALTH_WATCH)(request)
            assert next(watch) == SERVING
            watch.cancel()

    def test_other_services_are_unknown(self, served: AcceleratorProcess) -> None:
        with channel(served) as opened:
            with pytest.raises(grpc.RpcError) as unknown:
                unary(opened, HEALTH_CHECK)(b"\x0a\x04else")
            assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
            watch = opened.unary_stream(HEALTH_WATCH)(b"\x0a\x04else")
            assert next(watch) == SERVICE_UNKNOWN
            watch.cancel()
