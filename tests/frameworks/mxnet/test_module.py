from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference import mxnet as mx
from elastic_inference.client import Accelerator
from tests.frameworks.mxnet.networks import convolutional, dense, loaded, random_parameters

# As the original's scripts have it: any object with `data` is a batch.
Batch = namedtuple("Batch", ["data"])  # noqa: PYI024 - as they have it
SHAPE = (2, 3, 16, 16)


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    net = convolutional()
    arguments, states = random_parameters(net, data=SHAPE)
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, net, arguments, states)
    return str(tmp_path / "net")


def test_a_checkpoint_is_written_and_read(checkpoint: str) -> None:
    assert Path(f"{checkpoint}-0003.params").is_file()
    net, arguments, states = mx.model.load_checkpoint(checkpoint, 3)
    assert net.list_outputs() == ["probabilities_output"]
    assert set(states) == {"bn_moving_mean", "bn_moving_var"}
    assert arguments["conv_weight"].shape == (8, 3, 3, 3)
    mx.nd.save(f"{checkpoint}-0004.params", {"plain": mx.nd.ones((1,))})
    with pytest.raises(ValueError, match="Invalid param file"):
        mx.model.load_params(checkpoint, 4)


@pytest.mark.usefixtures("eia")
def test_a_module_predicts_as_its_symbol_does(checkpoint: str) -> None:
    net, arguments, states = mx.model.load_checkpoint(checkpoint, 3)
    data = mx.nd.random.uniform(shape=SHAPE)
    expected = net.bind(mx.cpu(), arguments | {"data": data}, aux_states=states).forward()[0]
    for context in (mx.cpu(), mx.eia()):
        mod = mx.mod.Module(symbol=net, context=context, label_names=None)
        mod.bind(for_training=False, data_shapes=[("data", SHAPE)], label_shapes=mod._label_shapes)
        mod.set_params(arguments, states, allow_missing=True)
        mod.forward(Batch([data]))
        found = mod.get_outputs()[0].asnumpy()
        np.testing.assert_allclose(found, expected.asnumpy(), rtol=1e-5)
        assert mod.output_shapes == [("probabilities_output", (2, 4))]
        assert mod.data_names == ["data"]
        assert [tuple(each) for each in mod.data_shapes] == [("data", SHAPE)]


def test_a_batch_of_another_size_binds_again_and_frees_the_old(
    checkpoint: str, eia: Accelerator
) -> None:
    net, arguments, states = mx.model.load_checkpoint(checkpoint, 3)
    mod = mx.mod.Module(net, context=mx.eia(), label_names=None)
    mod.bind([("data", SHAPE)], for_training=False)
    mod.set_params(arguments, states)
    mod.forward(Batch([mx.nd.ones(SHAPE)]))
    first = mod.get_outputs()[0].asnumpy()
    models = loaded(eia)
    mod.forward(Batch([mx.nd.ones((5, 3, 16, 16))]))
    found = mod.get_outputs()[0].asnumpy()
    assert found.shape == (5, 4)
    np.testing.assert_allclose(found[0], first[0], rtol=1e-5)
    assert loaded(eia) <= models
    mod.reshape([("data", SHAPE)])
    assert mod.output_shapes[0][1] == (2, 4)
    mod.close()


def test_predict_leaves_the_padding_out(checkpoint: str) -> None:
    mod = mx.mod.Module.load(checkpoint, 3, label_names=None)
    mod.bind([("data", SHAPE)], for_training=False)
    data = np.random.default_rng(0).random((5, 3, 16, 16), np.float32)
    batches = mx.io.NDArrayIter(data, batch_size=2)
    whole = mod.predict(batches)
    assert whole.shape == (5, 4)
    np.testing.assert_allclose(mod.predict(mx.nd.array(data)).asnumpy(), whole.asnumpy(), rtol=1e-5)
    assert [each[0].shape[0] for each in mod.predict(batches, merge_batches=False)] == [2, 2, 1]
    assert mod.predict(batches, num_batch=1).shape == (2, 4)
    assert len(mod.predict(batches, always_output_list=True)) == 1
    assert [number for _, number, _ in mod.iter_predict(batches)] == [0, 1, 2]
    with pytest.raises(ValueError, match="NDArray or DataIter"):
        mod.predict([1, 2])


def test_parameters_that_are_missing_are_named() -> None:
    mod = mx.mod.Module(dense(), label_names=None)
    with pytest.raises(AssertionError):
        mod.forward(Batch([mx.nd.ones((1, 3))]))
    with pytest.raises(AssertionError):
        mod.set_params({}, {})
    mod.bind([("data", (1, 3))], for_training=False)
    with pytest.raises(AssertionError):
        mod.forward(Batch([mx.nd.ones((1, 3))]))
    with pytest.raises(RuntimeError, match=r"^fc_bias is not presented$"):
        mod.set_params({"fc_weight": mx.nd.ones((2, 3))}, {})
    with pytest.raises(ValueError, match='Find name "other"'):
        mod.set_params({"other": mx.nd.ones((1,))}, {}, allow_missing=True)
    mod.set_params({"other": mx.nd.ones((1,))}, {}, allow_missing=True, allow_extra=True)
    assert mod.params_initialized


def test_a_second_bind_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    mod = mx.mod.Module(dense(), label_names=None)
    mod.bind([("data", (1, 3))], for_training=False)
    assert mod.bind([("data", (7, 3))], for_training=False) is None
    assert "Already bound, ignoring bind()" in caplog.text
    assert mod.data_shapes[0].shape == (1, 3)
    mod.bind([("data", (7, 3))], for_training=False, force_rebind=True)
    assert mod.data_shapes[0].shape == (7, 3)


@pytest.mark.usefixtures("eia")
def test_what_the_original_refuses_is_refused_in_its_words() -> None:
    net = dense()
    mod = mx.mod.Module(net, context=mx.eia(), label_names=None)
    with pytest.raises(ValueError, match=r"^for training cannot be set to true with EIA context$"):
        mod.bind([("data", (1, 3))])
    one = r"^Maximum one EIA device can be attached to an instance$"
    with pytest.raises(ValueError, match=one):
        mx.mod.Module(net, context=[mx.eia(0), mx.eia(1)], label_names=None)
    with pytest.raises(ValueError, match=one):
        mx.mod.Module(
            net,
            context=mx.eia(),
            label_names=None,
            group2ctxs={"dev1": mx.eia(2), "dev2": mx.eia(3)},
        )
    with pytest.raises(mx.MXNetError, match="GPU support is disabled"):
        mx.mod.Module(net, context=mx.gpu(), label_names=None)
    with pytest.raises(ValueError, match="Did you mean one of:\n\tdata"):
        mx.mod.Module(net, data_names=["date"], label_names=None)
    with pytest.raises(ValueError, match="don't match names specified by data_names"):
        mod.bind([("other", (1, 3))], for_training=False)


@pytest.mark.parametrize("method", ["backward", "update", "fit", "init_optimizer"])
def test_training_is_refused(method: str) -> None:
    mod = mx.mod.Module(dense(), label_names=None)
    mod.bind([("data", (1, 3))])
    mod.init_params()
    with pytest.raises(mx.MXNetError, match="inference only"):
        getattr(mod, method)()
    with pytest.raises(mx.MXNetError, match="inference only"):
        mod.forward(Batch([mx.nd.ones((1, 3))]))
    mod.forward(Batch([mx.nd.ones((1, 3))]), is_train=False)


def test_a_label_that_inference_ignores_may_be_there_or_not() -> None:
    net = mx.sym.SoftmaxOutput(dense(), name="softmax")
    mod = mx.mod.Module(net)
    mod.bind([("data", (2, 3))], for_training=False)
    mod.init_params()
    mod.forward(mx.io.DataBatch([mx.nd.ones((2, 3))]))
    first = mod.get_outputs()[0].asnumpy()
    mod.bind([("data", (2, 3))], [("softmax_label", (2,))], for_training=False, force_rebind=True)
    mod.forward(mx.io.DataBatch([mx.nd.ones((2, 3))], [mx.nd.ones((2,))]))
    np.testing.assert_allclose(mod.get_outputs()[0].asnumpy(), first, rtol=1e-6)
    assert mod.label_shapes[0].name == "softmax_label"


def test_parameters_can_be_taken_out_and_saved(tmp_path: Path) -> None:
    mod = mx.mod.Module(dense(), label_names=None)
    mod.bind([("data", (1, 3))], for_training=False)
    mod.init_params(mx.init.Constant(2), arg_params={"fc_bias": mx.nd.array([1, 2])},
                    allow_missing=True)  # fmt: skip
    arguments, states = mod.get_params()
    assert (arguments["fc_bias"].asnumpy().tolist(), states) == ([1, 2], {})
    assert arguments["fc_weight"].asnumpy().min() == 2
    arguments["fc_bias"][:] = 9
    assert mod.get_params()[0]["fc_bias"].asnumpy().tolist() == [1, 2]
    mod.save_checkpoint(str(tmp_path / "m"), 1)
    mod.save_params(str(tmp_path / "p.params"))
    other = mx.mod.Module(dense(), label_names=None)
    other.bind([("data", (1, 3))], for_training=False)
    other.load_params(str(tmp_path / "p.params"))
    assert other.get_params()[0]["fc_bias"].asnumpy().tolist() == [1, 2]


def test_a_score_is_what_the_metric_says() -> None:
    class Sum:
        total = 0.0

        def reset(self) -> None:
            self.total = 0.0

        def update(self, labels: Any, outputs: Any) -> None:
            self.total += float(outputs[0].asnumpy().sum()) + labels[0].size

        def get_name_value(self) -> list[tuple[str, float]]:
            return [("sum", self.total)]

    mod = mx.mod.Module(dense(), label_names=None)
    mod.bind([("data", (2, 3))], for_training=False)
    mod.init_params(mx.init.One())
    batches = mx.io.NDArrayIter(np.eye(3), np.array([0, 0, 1]), 2)
    mod.set_params(
        {"fc_weight": mx.nd.array([[1, 0, 0], [0, 1, 1]]), "fc_bias": mx.nd.zeros(2)}, {}
    )
    assert mod.score(batches, "acc") == [("accuracy", pytest.approx(2 / 3))]
    both = ["acc", mx.metric.TopKAccuracy(top_k=2)]
    assert [value for _, value in mod.score(batches, both)] == [pytest.approx(2 / 3), 1.0]
    measured = mx.metric.create("acc")
    for batch in mx.io.PrefetchingIter(mx.io.NDArrayIter(np.eye(3), np.array([0, 0, 1]), 3)):
        mod.forward(batch)
        mod.update_metric(measured, batch.label)
    assert measured.get() == ("accuracy", pytest.approx(2 / 3))
    with pytest.raises(ValueError, match="There is no metric"):
        mod.score(batches, "nothing")
    mod.init_params(mx.init.One(), force_init=True)
    assert mod.score(mx.io.NDArrayIter(np.ones((2, 3)), np.ones(2), 2), Sum()) == [("sum", 14.0)]


@pytest.mark.usefixtures("eia")
def test_each_bucket_has_a_module_with_the_same_parameters() -> None:
    def symbol_of(length: int) -> Any:
        data = mx.sym.var("data")
        parts = mx.sym.SliceChannel(data, num_outputs=length, axis=1, squeeze_axis=True)
        whole = parts[0]
        for part in list(parts)[1:]:
            whole = whole + part
        net = mx.sym.FullyConnected(whole, num_hidden=2, name="fc", flatten=False)
        return net, ["data"], None

    mod = mx.mod.BucketingModule(symbol_of, default_bucket_key=4, context=mx.eia())
    mod.bind([("data", (1, 4, 3))], for_training=False)
    mod.set_params({"fc_weight": mx.nd.ones((2, 3)), "fc_bias": mx.nd.zeros((2,))}, {})
    for length in (4, 2, 3, 2):
        batch = mx.io.DataBatch(
            [mx.nd.ones((1, length, 3))],
            bucket_key=length,
            provide_data=[("data", (1, length, 3))],
        )
        mod.forward(batch)
        assert mod.get_outputs()[0].asnumpy().tolist() == [[3 * length, 3 * length]]
    assert mod.output_names == ["fc_output"]
    assert set(mod.get_params()[0]) == {"fc_weight", "fc_bias"}
    mod.close()
    with pytest.raises(ValueError, match="Maximum one EIA device"):
        mx.mod.BucketingModule(symbol_of, 4, context=[mx.eia(0), mx.eia(1)])
