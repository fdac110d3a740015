from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference import mxnet as mx
from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ElasticInferenceError,
    UnavailableError,
)
from elastic_inference.frameworks import attach
from elastic_inference.frameworks.mxnet import running
from elastic_inference.frameworks.mxnet.running import Model
from elastic_inference.settings import ClientSettings
from tests.frameworks.mxnet.networks import convolutional, dense, loaded, random_parameters
from tests.processes import AcceleratorProcess


@pytest.fixture(params=["cpu", "eia"])
def context(request: pytest.FixtureRequest) -> Any:
    if request.param == "eia":
        request.getfixturevalue("eia")
        return mx.eia()
    return mx.cpu()


def test_bind_computes_with_the_arrays_that_it_is_given(context: Any) -> None:
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    bound = (2 * a + b).bind(context, {"a": mx.nd.array([1, 2]), "b": mx.nd.array([2, 3])})
    assert bound.forward()[0].asnumpy().tolist() == [4, 7]
    bound.forward(a=mx.nd.ones((2,)), b=mx.nd.ones((2,)))
    assert bound.outputs[0].asnumpy().tolist() == [3, 3]
    bound.arg_dict["a"][:] = 10
    assert bound.forward()[0].asnumpy().tolist() == [21, 21]
    bound.forward(a=np.array([1, 2], np.float32))
    assert bound.outputs[0].asnumpy().tolist() == [3, 5]
    assert str(bound.outputs[0].context) == "cpu(0)"
    assert [each.shape for each in bound.arg_arrays] == [(2,), (2,)]


def test_simple_bind_makes_the_arrays(context: Any) -> None:
    data = mx.sym.var("data", shape=(1,))
    bound = mx.sym.exp(data).simple_bind(ctx=context, grad_req="null")
    assert bound.forward()[0].asnumpy().tolist() == [1]
    bound.forward(data=mx.nd.ones((1,)))
    assert bound.outputs[0].asscalar() == pytest.approx(np.e)
    assert next(iter(bound.output_dict.values())).shape == (1,)


@pytest.mark.usefixtures("eia")
def test_a_network_says_the_same_everywhere() -> None:
    net = convolutional()
    arguments, states = random_parameters(net, data=(2, 3, 16, 16))
    data = mx.nd.random.uniform(shape=(2, 3, 16, 16))
    found = []
    for context in (mx.cpu(), mx.eia()):
        bound = net.bind(context, arguments | {"data": data}, aux_states=states, grad_req="null")
        found.append(bound.forward(data=data)[0].asnumpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert found[0].shape == (2, 4)
    np.testing.assert_allclose(found[0].sum(1), 1, rtol=1e-5)


def test_weights_may_be_copied_in_after_the_binding(context: Any) -> None:
    net = dense()
    bound = net.simple_bind(context, data=(2, 3))
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    bound.copy_params_from({"fc_weight": mx.nd.array(weight), "fc_bias": mx.nd.array([1, 2])})
    expected = np.ones((2, 3), np.float32) @ weight.T + [1, 2]
    assert np.allclose(bound.forward(data=mx.nd.ones((2, 3)))[0].asnumpy(), expected)
    for factor in (2, 3, 4, 5):
        bound.arg_dict["fc_weight"][:] = weight * factor
        expected = np.ones((2, 3), np.float32) @ weight.T * factor + [1, 2]
        assert np.allclose(bound.forward()[0].asnumpy(), expected)
    with pytest.raises(ValueError, match='Find name "other" that is not in the arguments'):
        bound.copy_params_from({"other": mx.nd.ones((1,))})
    bound.copy_params_from({"other": mx.nd.ones((1,))}, allow_extra_params=True)
    with pytest.raises(ValueError, match="Shape not match! Argument fc_bias"):
        bound.copy_params_from({"fc_bias": mx.nd.ones((9,))})


def test_what_does_not_fit_is_said_in_mxnet_s_words() -> None:
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    net = 2 * a + b
    ones = mx.nd.ones((2,))
    with pytest.raises(ValueError, match=r"^key `b` is missing in `args`$"):
        net.bind(mx.cpu(), {"a": ones})
    with pytest.raises(ValueError, match="Length of args does not match"):
        net.bind(mx.cpu(), [ones])
    bound = net.bind(mx.cpu(), [ones, ones])
    with pytest.raises(
        ValueError, match=r"^Shape not match! Argument a, need: \(2,\), received: \(3,\)$"
    ):
        bound.forward(a=mx.nd.ones((3,)))
    with pytest.raises(TypeError, match=r"^Unknown argument q$"):
        bound.forward(q=ones)
    with pytest.raises(ValueError, match="only accept keyword argument of NDArrays"):
        bound.forward(a=[1, 2])
    with pytest.raises(TypeError, match="Only accept list of NDArrays"):
        net.bind(mx.cpu(), {"a": 1, "b": ones})
    with pytest.raises(mx.MXNetError, match="simple_bind error"):
        net.simple_bind(mx.cpu(), a=(2,), b=(3,))
    with pytest.raises(mx.MXNetError, match="simple_bind error"):
        net.simple_bind(mx.cpu())


def test_training_is_refused() -> None:
    bound = dense().simple_bind(mx.cpu(), data=(1, 3))
    with pytest.raises(mx.MXNetError, match="inference only"):
        bound.backward()
    with pytest.raises(mx.MXNetError, match="inference only"):
        bound.forward(is_train=True)
    with pytest.raises(mx.MXNetError, match="inference only"):
        mx.autograd.record()
    with pytest.raises(mx.MXNetError, match="monitor"):
        bound.set_monitor_callback(print)


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = dense()
    with pytest.raises(mx.MXNetError, match="GPU support is disabled"):
        net.simple_bind(mx.gpu(), data=(1, 3))
    with pytest.raises(
        ValueError, match=r"^Maximum one EIA device can be attached to an instance$"
    ):
        net.simple_bind(mx.eia(), data=(1, 3), group2ctx={"dev1": mx.cpu()})
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(mx.MXNetError) as caught:
        net.simple_bind(mx.eia(7), data=(1, 3))
    assert str(caught.value).startswith(
        "Error: Failed to query accelerator metadata.\nFailed to detect any accelerator\n"
    )
    monkeypatch.setenv("EI_VISIBLE_DEVICES", "")
    with pytest.raises(mx.MXNetError, match="Failed to detect any accelerator"):
        net.simple_bind(mx.eia(), data=(1, 3))


def test_an_operator_that_cannot_be_run_is_named_when_it_is_bound() -> None:
    net = dense()
    node = net.graph.heads[0][0]
    node.operator = "Unheard"
    with pytest.raises(mx.MXNetError, match=r"Unheard.*fc"):
        net.simple_bind(mx.cpu(), data=(1, 3))


class _Held:
    """A part that waits until it is told."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.calls = 0
        self.lock = threading.Lock()
        self.several = threading.Event()

    def run(self, feeds: Any, outputs: Any = None) -> list[Any]:
        with self.lock:
            self.calls += 1
            if self.calls > 1:
                self.several.set()
        assert self.go.wait(30)
        return [feeds["data"] * 2 for _ in outputs]

    def close(self) -> None:
        pass


def test_forward_does_not_wait_and_frames_are_under_way_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = _Held()
    monkeypatch.setattr(running, "_load", lambda *_: held)
    bound = mx.sym.exp(mx.sym.var("data")).simple_bind(mx.cpu(), data=(1,))
    kept = []
    for number in range(3):
        bound.forward(data=mx.nd.array([number]))
        kept.append(bound.outputs[0].copy())
    assert held.several.wait(30)
    held.go.set()
    assert [each.asscalar() for each in kept] == [0, 2, 4]
    # As in MXNet, the outputs themselves are the last ones.
    assert bound.outputs[0].asscalar() == 4
    mx.nd.waitall()


def test_the_output_of_one_may_be_the_input_of_another_without_waiting(context: Any) -> None:
    first = mx.sym.exp(mx.sym.var("x")).simple_bind(context, x=(2,))
    second = mx.sym.log(mx.sym.var("y")).simple_bind(context, y=(2,))
    first.forward(x=mx.nd.array([1, 2]))
    second.forward(y=first.outputs[0])
    assert np.allclose(second.outputs[0].asnumpy(), [1, 2])


def test_reshape_frees_what_it_replaces(eia: Accelerator) -> None:
    net = dense()
    bound = net.simple_bind(mx.eia(), data=(2, 3))
    bound.copy_params_from({"fc_weight": mx.nd.ones((2, 3)), "fc_bias": mx.nd.zeros((2,))})
    bound.forward()[0].wait_to_read()
    before = loaded(eia)
    other = bound.reshape(data=(5, 3), allow_up_sizing=True)
    assert other.arg_dict["fc_weight"] is bound.arg_dict["fc_weight"]
    assert other.forward(data=mx.nd.ones((5, 3)))[0].asnumpy().tolist() == [[3, 3]] * 5
    assert loaded(eia) <= before
    assert bound.forward()[0].shape == (2, 2)
    with pytest.raises(mx.MXNetError, match="larger than original"):
        bound.reshape(data=(9, 3))
    with pytest.raises(ValueError, match="unspecified array arg:fc_weight changed"):
        bound.reshape(data=(2, 1))


def test_a_failure_of_the_accelerator_is_reported_as_the_original_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> Any:
        raise AcceleratorOutOfMemoryError(
            request_id="a19b0de6-7999-4580-8c49-8ea7adef0000", accelerator_id="eia-0123"
        )

    monkeypatch.setattr(running, "_load", fail)
    bound = dense().simple_bind(mx.cpu(), data=(1, 3))
    outputs = bound.forward()
    with pytest.raises(mx.MXNetError) as caught:
        outputs[0].asnumpy()
    assert isinstance(caught.value, AcceleratorOutOfMemoryError)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("src/operator/subgraph/eia/eia_subgraph_op.cc:206: Last Error:")
    assert lines[1:4] == [
        "  EI Error Code: [51, 8, 31]",
        "  EI Error Description: Accelerator out of memory. Consider using a larger accelerator.",
        "  EI Request ID: MX-A19B0DE6-7999-4580-8C49-8EA7ADEF0000 -- EI Accelerator ID: eia-0123",
    ]
    assert lines[4].startswith("  EI Client Version: ")
    assert "[Execution Engine][MXNet][3] Failed - Last Error:" in capsys.readouterr().err
    with pytest.raises(ElasticInferenceError):
        bound.outputs[0].wait_to_read()


def test_a_model_that_does_not_fit_is_said_when_an_output_is_read(
    start_accelerator: Callable[..., AcceleratorProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = start_accelerator(memory_bytes=64 << 20)
    address = Address(socket_path=str(small.config.data_socket))
    with connect(settings=ClientSettings(), address=address, token=small.token()) as target:
        monkeypatch.setitem(attach._connected, 0, target)
        net = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=8000, name="fc")
        bound = net.simple_bind(mx.eia(), data=(1, 4000))
        bound.forward()
        with pytest.raises(mx.MXNetError, match=r"EI Error Code: \[51, 8, 31\]") as caught:
            bound.outputs[0].asnumpy()
        assert "Accelerator out of memory. Consider using a larger accelerator." in str(
            caught.value
        )
        fits = dense().simple_bind(mx.eia(), data=(1, 3))
        assert fits.forward()[0].asnumpy().tolist() == [[0, 0]]


@pytest.mark.usefixtures("eia")
def test_a_lost_accelerator_is_an_error_or_the_local_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bound = dense().simple_bind(mx.eia(), data=(1, 3))

    def lose(*_: Any) -> Any:
        raise UnavailableError("gone")

    whole = running._load
    monkeypatch.setattr(
        running, "_load", lambda part, target: whole(part, None) if target is None else lose()
    )
    with pytest.raises(mx.MXNetError, match="gone"):
        bound.forward()[0].asnumpy()
    monkeypatch.setenv("EI_ON_LOSS", "local")
    assert bound.forward()[0].asnumpy().tolist() == [[0, 0]]


def test_waitall_raises_what_nobody_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise UnavailableError("gone")

    monkeypatch.setattr(running, "_load", fail)
    bound = dense().simple_bind(mx.cpu(), data=(1, 3))
    bound.forward()
    with pytest.raises(mx.MXNetError, match="gone"):
        mx.nd.waitall()
    mx.nd.waitall()


def test_a_model_is_freed_when_its_last_call_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    held = _Held()
    closed = threading.Event()
    monkeypatch.setattr(held, "close", closed.set)
    monkeypatch.setattr(running, "_load", lambda *_: held)
    bound = mx.sym.exp(mx.sym.var("data")).simple_bind(mx.cpu(), data=(1,))
    bound.forward()
    bound.forward()
    assert held.several.wait(30)
    bound.close()
    assert not closed.is_set()
    held.go.set()
    bound.outputs[0].wait_to_read()
    mx.nd.waitall()
    assert closed.wait(30)
    assert isinstance(bound._source.current(), Model)


@pytest.mark.parametrize("before", [True, False])
def test_a_file_of_weights_may_go_when_it_was_read(
    context: Any, tmp_path: Path, before: bool
) -> None:
    path = tmp_path / "fc.params"
    weight = np.arange(600, dtype=np.float32).reshape(2, 300)
    mx.nd.save(str(path), {"fc_weight": mx.nd.array(weight), "fc_bias": mx.nd.zeros((2,))})
    arguments = mx.nd.load(str(path)) | {"data": mx.nd.ones((1, 300))}
    if before:
        path.unlink()
    bound = dense().bind(context, arguments)
    path.unlink(missing_ok=True)
    assert np.allclose(bound.forward()[0].asnumpy(), weight.sum(1))


def test_eval_binds_and_computes() -> None:
    found = mx.sym.exp(mx.sym.var("x")).eval(mx.cpu(), x=mx.nd.zeros((2,)))
    assert found[0].asnumpy().tolist() == [1, 1]


@pytest.mark.parametrize("where", ["beside", "elsewhere", "behind a link", "in part"])
def test_weights_are_read_where_they_lie(context: Any, tmp_path: Path, where: str) -> None:
    """One folder with all of them, or else whatever there is."""
    net = mx.sym.FullyConnected(dense(), num_hidden=300, name="last")
    chance = np.random.default_rng(1)
    weights = {"fc_weight": chance.random((2, 300)), "last_weight": chance.random((300, 2))}
    arguments = {"data": mx.nd.ones((1, 300)), "fc_bias": mx.nd.zeros((2,)),
                 "last_bias": mx.nd.zeros((300,))}  # fmt: skip
    for name, values in weights.items():
        folder = tmp_path / (name if where == "elsewhere" else "")
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.params"
        saved = folder / f"blob of {name}" if where == "behind a link" else path
        mx.nd.save(str(saved), {name: mx.nd.array(values)})
        if saved != path:
            path.symlink_to(saved)
        arguments |= mx.nd.load(str(path))
    if where == "in part":
        arguments["last_weight"] = mx.nd.array(weights["last_weight"])
    bound = net.bind(context, arguments)
    expected = weights["fc_weight"].sum(1) @ weights["last_weight"].T
    np.testing.assert_allclose(bound.forward()[0].asnumpy()[0], expected, rtol=1e-5)


def test_detection_is_the_same_everywhere(context: Any) -> None:
    """Of two boxes that overlap the better stays; of another class both do."""
    scores = mx.nd.array([[[0.1, 0.1, 0.2, 0.9], [0.9, 0.6, 0.1, 0.0], [0.0, 0.3, 0.7, 0.1]]])
    anchors = mx.nd.array([[[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.25], [0, 0, 0.5, 0.5], [0, 0, 1, 1]]])
    names = ("scores", "places", "anchors")
    net = mx.sym.contrib.MultiBoxDetection(
        *(mx.sym.var(name) for name in names), threshold=0.5, nms_threshold=0.5
    )
    given = dict(zip(names, (scores, mx.nd.zeros((1, 16)), anchors), strict=True))
    found = net.bind(context, given).forward()[0].asnumpy()[0]
    assert found[:, 0].tolist() == [0, 1, -1, -1]
    np.testing.assert_allclose(found[:3, 1], [0.9, 0.7, 0.6])
    assert found[3].tolist() == [-1] * 6
