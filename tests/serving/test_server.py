"""The model server as a whole, asked by TensorFlow Serving's own client library."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.frameworks.tensorflow.prepare import prepare
from elastic_inference.frameworks.tensorflow.signatures import SAVED_MODEL
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.serving.options import Options
from elastic_inference.serving.server import ModelServer
from elastic_inference.settings import ClientSettings
from tests.pools import EI, environment, program
from tests.processes import AcceleratorProcess
from tests.serving.versions import PATIENCE, until

pytestmark = pytest.mark.slow
COMMAND = "amazonei_tensorflow_model_server"
_VERSIONS = range(1, 5)


def _save(folder: Path, addend: float) -> None:
    """Half of `x`, and `addend`; a second signature gives a third of it."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 1], name="x")
        addends = v1.get_variable("addend", initializer=addend)
        y = tf.add(x * 0.5, addends, name="y")
        third = tf.divide(x, 3.0, name="third")
        session.run(v1.global_variables_initializer())

        def signature(output: Any) -> Any:
            describe = v1.saved_model.build_tensor_info
            return v1.saved_model.build_signature_def(
                {"x": describe(x)}, {"y": describe(output)}, "tensorflow/serving/predict"
            )

        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature(y), "third": signature(third)}
        )
        builder.save()


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions whose plans are made already; version N adds N."""
    folder = tmp_path_factory.mktemp("versions")
    for version in _VERSIONS:
        _save(folder / str(version), float(version))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        prepare(
            [
                Source(folder / str(version), signature=key)
                for version in _VERSIONS
                for key in ("serving_default", "third")
            ]
        )
    return folder


@pytest.fixture
def target(
    start_accelerator: Callable[..., AcceleratorProcess],
) -> Iterator[Accelerator]:
    process = start_accelerator()
    address = Address(host="127.0.0.1", port=process.port, tls=False)
    settings = ClientSettings(banner="off")
    with connect(settings=settings, address=address, token=process.token()) as accelerator:
        yield accelerator


class Base:
    """A model's base path; versions appear in it at once."""

    def __init__(self, versions: Path, folder: Path) -> None:
        self._versions = versions
        self._folder = folder
        self.path = folder / "half_plus"
        self.path.mkdir()

    def add(self, version: int, *, name: str = "", is_corrupt: bool = False) -> Path:
        made = self._folder / "made"
        shutil.copytree(self._versions / str(version), made)
        if is_corrupt:
            path = made / SAVED_MODEL
            path.write_bytes(path.read_bytes()[:-40])
        place = self.path / (name or str(version))
        made.rename(place)
        return place


@pytest.fixture
def base(versions: Path, tmp_path: Path) -> Base:
    return Base(versions, tmp_path)


@contextlib.contextmanager
def _serving(target: Accelerator, **options: Any) -> Iterator[ModelServer]:
    given = {"port": 0, "model_name": "half_plus", **options}
    server = ModelServer(Options(**given), target, host="127.0.0.1")
    try:
        server.start()
        yield server
    finally:
        server.stop(PATIENCE)


class Client:
    """TensorFlow Serving's stubs."""

    def __init__(self, address: str) -> None:
        import grpc
        from tensorflow_serving.apis import (
            model_service_pb2_grpc,
            prediction_service_pb2_grpc,
        )

        self._channel = grpc.insecure_channel(address)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, *values: float, signature: str = "", name: str = "half_plus") -> Any:
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        tensor = request.inputs["x"]
        tensor.dtype = 1
        tensor.float_val.extend(values)
        for size in (len(values), 1):
            tensor.tensor_shape.dim.add().size = size
        return self._prediction.Predict(request, PATIENCE, wait_for_ready=True)

    def status(self, version: int | None = None) -> dict[int, tuple[int, int, str]]:
        """State, error code and message of each version."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "half_plus"
        if version is not None:
            request.model_spec.version.value = version
        answer = self._model.GetModelStatus(request, PATIENCE)
        return {
            each.version: (each.state, each.status.error_code, each.status.error_message)
            for each in answer.model_version_status
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()


_AVAILABLE, _END = 30, 50


def test_versions_switch_under_load_without_a_failed_request(
    target: Accelerator, base: Base
) -> None:
    base.add(1, name="00000001")
    with (
        _serving(target, model_base_path=str(base.path)) as server,
        Client(f"127.0.0.1:{server.ports[0]}") as client,
        ThreadPoolExecutor(3) as threads,
    ):
        ended = threading.Event()

        def ask() -> list[int]:
            seen = []
            is_last = False
            while not is_last:
                is_last = ended.is_set()
                answer = client.predict(2.0, 4.0)
                version = int(answer.model_spec.version.value)
                assert list(answer.outputs["y"].float_val) == [1.0 + version, 2.0 + version]
                seen.append(version)
            return seen

        asked = [threads.submit(ask) for _ in range(3)]
        try:
            base.add(2)
            until(lambda: client.status().get(2, (0,))[0] == _AVAILABLE)
            # A corrupt one leaves the one before, and says why.
            corrupt = base.add(3, is_corrupt=True)
            until(lambda: client.status().get(3, (0,))[0] == _END)
            assert client.predict(2.0).model_spec.version.value == 2
            _, code, why = client.status(3)[3]
            assert code != 0
            assert "damaged" in why or "corrupt" in why
            shutil.rmtree(corrupt)
            base.add(4)
            until(lambda: client.status().get(4, (0,))[0] == _AVAILABLE)
            until(lambda: client.status()[2][0] == _END)
        finally:
            ended.set()
        for each in asked:
            seen = each.result(PATIENCE)
            assert seen == sorted(seen)
            assert seen[-1] == 4


def test_batches_give_each_request_its_own(target: Accelerator, base: Base, tmp_path: Path) -> None:
    base.add(1)
    parameters = tmp_path / "batching.txt"
    parameters.write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 2000 } "
        "num_batch_threads { value: 2 } allowed_batch_sizes: [2, 4] "
        "max_enqueued_batches { value: 100 }"
    )
    options = {"enable_batching": True, "batching_parameters_file": str(parameters)}
    with (
        _serving(target, model_base_path=str(base.path), **options) as server,
        Client(f"127.0.0.1:{server.ports[0]}") as client,
        ThreadPoolExecutor(8) as threads,
    ):
        asked = [threads.submit(client.predict, float(value)) for value in range(64)]
        for value, each in enumerate(asked):
            np.testing.assert_allclose(
                each.result(PATIENCE).outputs["y"].float_val, [value * 0.5 + 1]
            )
        sizes = re.findall(
            r'processed_batch_size_count\{model_name="half_plus"\} ([0-9]+)',
            server.metrics.text(),
        )
        assert 0 < int(sizes[0]) < 64


def test_requests_that_are_wrong_get_tensorflow_servings_words(
    target: Accelerator, base: Base
) -> None:
    import grpc

    base.add(1)
    with (
        _serving(target, model_base_path=str(base.path)) as server,
        Client(f"127.0.0.1:{server.ports[0]}") as client,
    ):
        for request, code, words in (
            (
                {"name": "none"},
                grpc.StatusCode.NOT_FOUND,
                "Servable not found for request: Latest(none)",
            ),
            ({"signature": "none"}, grpc.StatusCode.FAILED_PRECONDITION, 'key "none" not found'),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                client.predict(1.0, **request)
            assert raised.value.code() == code
            assert words in raised.value.details()
        assert client.predict(3.0, signature="third").outputs["y"].float_val[0] == 1.0


def _server_of(run: int) -> int:
    """The process id of the server that `ei run` started."""
    import psutil

    (found,) = (
        int(child.pid)
        for child in psutil.Process(run).children(recursive=True)
        if any(word.endswith(COMMAND) for word in child.cmdline())
    )
    return found


def test_the_command_under_ei_run(base: Base, short_path: Path) -> None:
    base.add(1, name="00000123")
    socket_path = short_path / "grpc"
    command = Path(sys.executable).with_name(COMMAND)
    words = (
        *(*EI, "run", "--accelerator", "eia1.medium", "--", str(command), "--port=0"),
        *(f"--grpc_socket_path={socket_path}", "--model_name", "half_plus"),
        f"--model_base_path={base.path}",
    )
    with program(words, environment(short_path / "home")) as running:
        running.wait_for("Successfully loaded servable version {name: half_plus version: 123}")
        running.wait_for(f"Running gRPC ModelServer at UNIX socket {socket_path} ...")
        with Client(f"unix:{socket_path}") as client:
            answer = client.predict(2.0)
        assert list(answer.outputs["y"].float_val) == [2.0]
        assert answer.model_spec.version.value == 123
        # Nothing of the model is for the instance.
        server = _server_of(running.pid)
        assert "tensorflow" not in Path(f"/proc/{server}/maps").read_text()
        os.kill(server, signal.SIGTERM)
        running.wait_for("Done unloading servable version {name: half_plus version: 123}")
        assert running.process.wait(PATIENCE) == 0


def test_a_start_that_fails_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "models.txt"
    config.write_text("improper {}")
    command = Path(sys.executable).parent / COMMAND
    done = subprocess.run(
        [command, f"--model_config_file={config}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert "Run it under `ei run --accelerator TYPE -- " in done.stderr
    assert done.stderr.count("\n") == 1
