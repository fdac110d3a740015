"""Where a model's time goes, measured on a real accelerator."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from elastic_inference.accelerator.engines._profile import add_up
from elastic_inference.client import Accelerator
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ElasticInferenceError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
)
from tests.accelerator import graphs
from tests.client.conftest import Reachable
from tests.client.models import scaled, slow

Attach = Callable[..., Accelerator]


def test_a_profile_tells_the_operators_and_the_way(attach: Attach) -> None:
    graph = graphs.dozen()[0]
    with attach() as accelerator, accelerator.load(graph.model) as model:
        before = model.run(graph.feeds)
        found = model.profile(graph.feeds, runs=3)
        after = model.run(graph.feeds)
        assert accelerator.info()["models"] == 1
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (found.runs, found.recorded_runs) == (3, 3)
    assert found.transport == accelerator.transport
    assert found.providers == model.providers
    assert any("Conv" in node.operator for node in found.nodes)
    assert all(node.calls % 3 == 0 for node in found.nodes)
    assert [node.ns for node in found.nodes] == sorted((n.ns for n in found.nodes), reverse=True)
    assert sum(row.ns for row in found.operators) == sum(node.ns for node in found.nodes)
    parts = (found.receive_ns, found.compute_ns, found.send_ns, found.overhead_ns)
    assert all(part >= 0 for part in parts)
    assert found.compute_ns > 0
    document = json.loads(json.dumps(found.to_dict()))
    assert document["nodes"][0]["operator"] == found.nodes[0].operator
    assert document["operators"][0]["nodes"] >= 1


@pytest.mark.parametrize("graph", graphs.dozen(), ids=lambda graph: graph.name)
def test_whatever_runs_can_be_profiled(reachable: Reachable, graph: graphs.Graph) -> None:
    with reachable.connect("shm") as accelerator, accelerator.load(graph.model) as model:
        assert model.profile(graph.feeds, runs=1).recorded_runs == 1


def test_nothing_of_a_profile_stays(reachable: Reachable) -> None:
    store = reachable.process.config.store_directory
    with reachable.connect("tls") as accelerator, accelerator.load(scaled(2)) as model:
        model.profile({"x": np.ones(4, np.float32)}, runs=2)
        (folder,) = (store / "models").iterdir()
        assert [path.name for path in folder.rglob("*")] == ["model.onnx"]
    assert not list(store.rglob("*profile*"))


def test_what_does_not_fit_is_refused_and_the_model_goes_on(reachable: Reachable) -> None:
    x = {"x": np.ones(4, np.float32)}
    with reachable.connect("shm") as accelerator, accelerator.load(scaled(2)) as model:
        for wrong in ({}, {"x": np.ones((2, 2), np.float32)}, {"y": x["x"]}):
            with pytest.raises(InvalidRequestError):
                model.profile(wrong)
        for runs in (0, 1001):
            with pytest.raises(InvalidRequestError):
                model.profile(x, runs)
        np.testing.assert_array_equal(model.run(x)[0], x["x"] * 2)
        handle = model.handle
    with reachable.connect("shm") as accelerator, pytest.raises(NotFoundError):
        accelerator._link.request(
            "POST", f"/v2/elastic-inference/models/{handle}/profile", {"inputs": []}
        )


def test_a_copy_that_the_memory_has_no_room_for_is_refused(
    start_accelerator: Callable[..., Any],
) -> None:
    from elastic_inference.client import Address, connect
    from elastic_inference.settings import ClientSettings

    process = start_accelerator(memory_bytes=150 << 20)
    x = {"x": np.ones((1, 4096), np.float32)}
    with (
        connect(
            settings=ClientSettings(transport="shm"),
            address=Address(socket_path=str(process.config.data_socket)),
            token=process.token(),
        ) as accelerator,
        accelerator.load(graphs.linear(4096, 4096)) as model,
    ):
        (before,) = model.run(x)
        with pytest.raises(AcceleratorOutOfMemoryError):
            model.profile(x, runs=1)
        np.testing.assert_array_equal(model.run(x)[0], before)


def test_one_profile_at_a_time_and_calls_go_on(reachable: Reachable) -> None:
    with (
        reachable.connect("shm") as accelerator,
        accelerator.load(slow(2000)) as long,
        accelerator.load(scaled(3)) as short,
        ThreadPoolExecutor(4) as threads,
    ):
        feeds = {spec.name: np.full((64, 64), 0.01, np.float32) for spec in long.inputs}
        together = threading.Barrier(4)

        def profile() -> ElasticInferenceError | None:
            together.wait(60)
            try:
                document = long.profile(feeds, runs=5)
            except LimitExceededError as error:
                return error
            assert document.recorded_runs >= 1
            return None

        outcomes = [threads.submit(profile) for _ in range(4)]
        x = np.ones(4, np.float32)
        while not all(each.done() for each in outcomes):
            np.testing.assert_array_equal(short.run({"x": x})[0], x * 3)
        refused = [each.result() for each in outcomes]
        assert None in refused


def test_time_inside_a_node_is_its_inner_nodes_own() -> None:
    def node(name: str, operator: str, begin: int, duration: int, thread: int = 1) -> str:
        return json.dumps(
            {
                "cat": "Node", "tid": thread, "dur": duration, "ts": begin,
                "name": f"{name}_kernel_time",
                "args": {"op_name": operator, "provider": "CPU", "output_size": "8"},
            }
        ) + ",\n"  # fmt: skip

    run = json.dumps({"cat": "Session", "name": "model_run", "dur": 1, "ts": 0, "args": {}}) + ",\n"
    once = [
        node("before", "Add", 0, 5),
        node("inner", "Mul", 12, 10),
        node("inner", "Mul", 24, 20),
        node("loop", "Loop", 10, 50),
        node("elsewhere", "Add", 30, 7, thread=2),
        node("after", "Add", 61, 2),
        run,
    ]
    found = {each.name: each for each in add_up(["[\n", *once, *once, "]\n"])}
    assert {name: each.ns for name, each in found.items()} == {
        "before": 5000,
        "inner": 30000,
        "loop": 20000,
        "elsewhere": 7000,
        "after": 2000,
    }
    assert found["inner"].calls == 2
    assert found["inner"].output_bytes == 8
