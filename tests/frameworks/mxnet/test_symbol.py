from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from elastic_inference import mxnet as mx
from elastic_inference.errors import ModelFormatError


def network() -> mx.sym.Symbol:
    data = mx.sym.Variable("data")
    hidden = mx.sym.FullyConnected(data, num_hidden=4, name="fc1")
    return mx.sym.FullyConnected(
        mx.sym.Activation(hidden, act_type="relu", name="relu1"), num_hidden=3, name="fc2"
    )


def test_inputs_that_are_not_given_become_variables() -> None:
    net = network()
    assert net.list_arguments() == ["data", "fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias"]
    assert net.list_outputs() == ["fc2_output"]
    assert net.list_auxiliary_states() == []
    assert net.name == "fc2"
    assert repr(net) == "<Symbol fc2>"
    bn = mx.sym.BatchNorm(net, name="bn")
    assert bn.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    assert bn.list_arguments()[-2:] == ["bn_gamma", "bn_beta"]
    without = mx.sym.FullyConnected(mx.sym.var("x"), num_hidden=2, no_bias=True, name="f")
    assert without.list_arguments() == ["x", "f_weight"]


def test_nodes_without_a_name_are_numbered() -> None:
    with mx.name.NameManager():
        a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
        net = 2 * a + b
        assert net.list_outputs() == ["_plus0_output"]
        assert net.get_internals().list_outputs() == [
            *("a", "_mulscalar0_output", "b", "_plus0_output")
        ]
        assert (a - 1).name == "_minusscalar0"
        assert mx.sym.exp(a).name == "exp0"
        assert mx.sym.exp(a).name == "exp1"
    with mx.name.Prefix("net_"):
        assert mx.sym.exp(a, name="x").name == "net_x"


def test_python_s_operators_compute_what_they_say() -> None:
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    first, second = np.array([1.0, 4.0], np.float32), np.array([3.0, 2.0], np.float32)
    group = mx.sym.Group(
        [a + b, a - b, a * b, a / b, a**b, a % b, -a, 1 - a, 8 / a, 2**a, a > b, a <= 1, a == b]
    )
    bound = group.bind(mx.cpu(), {"a": mx.nd.array(first), "b": mx.nd.array(second)})
    found = [each.asnumpy().tolist() for each in bound.forward()]
    with np.errstate(all="raise"):
        expected = [
            *(first + second, first - second, first * second, first / second, first**second),
            *(first % second, -first, 1 - first, 8 / first, 2**first),
            *(first > second, first <= 1, first == second),
        ]
    for each, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(each, np.asarray(other, np.float32), rtol=1e-5)
    with pytest.raises(mx.MXNetError, match="not implemented for Symbol"):
        bool(a)
    with pytest.raises(TypeError, match="not supported"):
        a + "text"


def test_shapes_follow_from_each_other() -> None:
    arguments, outputs, states = network().infer_shape(data=(2, 5))
    assert arguments == [(2, 5), (4, 5), (4,), (3, 4), (3,)]
    assert (outputs, states) == ([(2, 3)], [])
    assert network().infer_shape((7, 5))[1] == [(7, 3)]
    with pytest.warns(UserWarning, match=r"Cannot decide shape[\s\S]*fc1_weight"):
        assert network().infer_shape() == (None, None, None)
    arguments, outputs, _ = network().infer_shape_partial(data=(0, 5))
    assert (arguments[1], outputs) == ((4, 5), [(0, 3)])
    with pytest.raises(mx.MXNetError, match=r"name q not found"):
        network().infer_shape(q=(1,))
    with pytest.raises(mx.MXNetError, match="fc1"):
        network().infer_shape(data=(2, 5), fc1_weight=(4, 9))


def test_dtypes_follow_from_each_other() -> None:
    arguments, outputs, _ = network().infer_type(data="float16")
    assert set(arguments) == {np.float16}
    assert outputs == [np.float16]


def test_variables_carry_what_they_are_told() -> None:
    data = mx.sym.var("data", shape=(1, 3), dtype="float16", lr_mult=2, __extra__="yes")
    assert data.attr("__shape__") == "(1, 3)"
    assert data.list_attr()["__dtype__"] == "2"
    assert data.attr("__extra__") == "yes"
    assert mx.sym.exp(data).infer_shape()[1] == [(1, 3)]
    with pytest.raises(ValueError, match="double underscores"):
        mx.sym.var("x", extra="no")
    with mx.AttrScope(__group__="1"):
        inner = mx.sym.exp(data, name="e", attr={"__own__": "2"})
    assert inner.attr_dict()["e"] == {"__group__": "1", "__own__": "2"}


def test_results_are_found_by_name() -> None:
    internals = network().get_internals()
    relu = internals["relu1_output"]
    assert relu.list_arguments() == ["data", "fc1_weight", "fc1_bias"]
    assert internals[0].name == "data"
    assert network().get_children().list_outputs() == ["relu1_output", "fc2_weight", "fc2_bias"]
    with pytest.raises(ValueError, match="Cannot find output that matches name"):
        internals["nothing"]
    with pytest.raises(IndexError):
        internals[99]
    group = mx.sym.Group([relu, internals["fc1_output"]])
    assert repr(group) == "<Symbol group [relu1, fc1]>"
    assert [each.name for each in group] == ["relu1", "fc1"]
    assert len(group[0:1]) == 1


def test_operators_with_several_results() -> None:
    parts = mx.sym.SliceChannel(mx.sym.var("x"), num_outputs=3, name="s")
    assert parts.list_outputs() == ["s_output0", "s_output1", "s_output2"]
    joined = mx.sym.Concat(*parts, dim=1, name="c")
    assert joined.infer_shape(x=(2, 6))[1] == [(2, 6)]
    assert joined.attr("num_args") == "3"


def test_a_symbol_takes_others_for_its_variables() -> None:
    inner = mx.sym.exp(mx.sym.var("y"), name="inner")
    net = network()(data=inner, name="whole")
    assert net.list_arguments()[0] == "y"
    assert net.name == "whole"
    with pytest.raises(mx.MXNetError, match="no argument is named q"):
        network()(q=inner)
    with pytest.raises(TypeError):
        network()("text")


def test_a_symbol_is_written_and_read(tmp_path: Path) -> None:
    net = network()
    path = tmp_path / "net-symbol.json"
    net.save(str(path))
    again = mx.sym.load(str(path))
    assert again.list_arguments() == net.list_arguments()
    assert again.tojson() == net.tojson()
    assert json.loads(net.tojson())["attrs"]["mxnet_version"] == ["int", 10901]
    copied = pickle.loads(pickle.dumps(copy.deepcopy(net)))  # noqa: S301 - our own
    assert copied.tojson() == net.tojson()
    with pytest.raises(ModelFormatError):
        mx.sym.load_json("{}")


def test_an_old_symbol_is_upgraded_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    old = {
        "nodes": [
            {"op": "null", "param": {}, "name": "data", "inputs": []},
            {"op": "null", "param": {}, "name": "bn_gamma", "inputs": []},
            {"op": "null", "param": {}, "name": "bn_beta", "inputs": []},
            {"op": "BatchNorm", "param": {}, "name": "bn", "inputs": [[0, 0], [1, 0], [2, 0]]},
        ],
        "arg_nodes": [0, 1, 2],
        "heads": [[3, 0]],
    }
    net = mx.sym.load_json(json.dumps(old))
    assert net.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith(
        "src/nnvm/legacy_json_util.cc:209: Loading symbol saved by previous version v0.8.0. "
        "Attempting to upgrade..."
    )
    assert said[1].endswith("src/nnvm/legacy_json_util.cc:217: Symbol successfully upgraded!")


def test_what_an_operator_does_not_take_is_refused() -> None:
    data = mx.sym.var("data")
    with pytest.raises(mx.MXNetError, match="Cannot find argument 'colour'"):
        mx.sym.Activation(data, act_type="relu", colour="red")
    with pytest.raises(mx.MXNetError, match="num_hidden"):
        mx.sym.FullyConnected(data)
    with pytest.raises(TypeError, match="inputs"):
        mx.sym.exp(data, data)
    with pytest.raises(mx.MXNetError, match="ComposeKeyword argument name q not found"):
        mx.sym.exp(q=data)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = mx.sym.nonsense
    with pytest.raises(mx.MXNetError, match="Error optimizing for backend 'TensorRT'"):
        data.optimize_for("TensorRT")
    assert data.optimize_for("EIA").name == "data"


def test_methods_are_operators() -> None:
    data = mx.sym.var("data")
    assert data.reshape((0, -1)).infer_shape(data=(2, 3, 4))[1] == [(2, 12)]
    assert data.transpose(1, 0).infer_shape(data=(2, 3))[1] == [(3, 2)]
    assert data.exp().name is not None
    with pytest.raises(AttributeError):
        _ = data.nonsense
