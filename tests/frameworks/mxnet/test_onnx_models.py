from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference import mxnet as mx
from elastic_inference.errors import ElasticInferenceError, InvalidRequestError, ModelFormatError

onnx = pytest.importorskip("onnx")
WEIGHT = np.random.default_rng(0).random((64, 16), np.float32)


def save(path: Path, *, batch: Any = "n", external: bool = False) -> str:
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Reshape", ["s", "shape"], ["y"]),
    ]
    bias = helper.make_tensor("b", TensorProto.FLOAT, [16], [1.0] * 16)
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 64]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 16]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4, 4])],
        [
            numpy_helper.from_array(WEIGHT, "w"),
            bias,
            numpy_helper.from_array(np.array([-1, 4, 4]), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, size_threshold=0, location="w.bin")
    return str(path)


def expected(rows: int) -> Any:
    return (np.ones((rows, 64), np.float32) @ WEIGHT + 1).reshape(rows, 4, 4)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.usefixtures("eia")
def test_an_onnx_file_is_a_symbol_that_runs_anywhere(tmp_path: Path, external: bool) -> None:
    path = save(tmp_path / "m.onnx", external=external)
    net, arguments, states = mx.contrib.onnx.import_model(path)
    assert net.list_arguments() == ["x", "w", "b"]
    assert net.list_outputs() == ["net_output"]
    assert ({name: each.shape for name, each in arguments.items()}, states) == (
        {"w": (64, 16), "b": (16,)},
        {},
    )
    names = [each for each in net.list_inputs() if each not in arguments and each not in states]
    for context in (mx.cpu(), mx.eia()):
        mod = mx.mod.Module(net, data_names=names, context=context, label_names=None)
        mod.bind(for_training=False, data_shapes=[(names[0], (2, 64))], label_shapes=None)
        mod.set_params(arguments, states, allow_missing=True, allow_extra=True)
        mod.forward(mx.io.DataBatch([mx.nd.ones((2, 64))]))
        np.testing.assert_allclose(mod.get_outputs()[0].asnumpy(), expected(2), rtol=1e-5)
        bound = net.bind(context, {"x": mx.nd.ones((3, 64)), **arguments})
        assert bound.forward()[0].shape == (3, 4, 4)
        arguments["b"][:] = 1


def test_weights_of_an_onnx_model_can_be_changed(tmp_path: Path) -> None:
    net, arguments, _ = mx.contrib.onnx.import_model(save(tmp_path / "m.onnx"))
    bound = net.bind(mx.cpu(), {"x": mx.nd.zeros((1, 64)), **arguments})
    assert bound.forward()[0].asnumpy().ravel()[0] == 1
    for value in (5, 6, 7, 8):
        bound.arg_dict["b"][:] = value
        assert bound.forward()[0].asnumpy().ravel()[0] == value


@pytest.mark.usefixtures("eia")
def test_it_is_saved_as_other_symbols_are(tmp_path: Path) -> None:
    net, arguments, states = mx.contrib.onnx.import_model(save(tmp_path / "m.onnx"))
    mx.model.save_checkpoint(str(tmp_path / "again"), 0, net, arguments, states)
    (tmp_path / "m.onnx").unlink()
    block = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "again-symbol.json"),
        ["x"],
        str(tmp_path / "again-0000.params"),
        ctx=mx.eia(),
    )
    np.testing.assert_allclose(block(mx.nd.ones((1, 64))).asnumpy(), expected(1), rtol=1e-5)
    block.close()


def test_it_may_be_a_gluon_block(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx")
    block = mx.contrib.onnx.import_to_gluon(path, ctx=mx.cpu())
    assert block(mx.nd.ones((2, 64))).shape == (2, 4, 4)
    assert mx.contrib.onnx.get_model_metadata(path) == {
        "input_tensor_data": [("x", (0, 64))],
        "output_tensor_data": [("y", (0, 4, 4))],
    }
    net, arguments, _ = mx.contrib.onnx.import_model(path)
    again = mx.gluon.nn.SymbolBlock(outputs=net, inputs=mx.sym.var("x"))
    for name, parameter in again.collect_params().items():
        parameter._load_init(arguments[name], ctx=mx.cpu())
    assert again(mx.nd.ones((2, 64))).shape == (2, 4, 4)


def test_operators_of_mxnet_may_follow_it(tmp_path: Path) -> None:
    net, arguments, _ = mx.contrib.onnx.import_model(save(tmp_path / "m.onnx", batch=2))
    found = (net * 2).bind(mx.cpu(), {"x": mx.nd.ones((2, 64)), **arguments}).forward()[0]
    np.testing.assert_allclose(found.asnumpy(), expected(2) * 2, rtol=1e-5)
    unknown, arguments, _ = mx.contrib.onnx.import_model(save(tmp_path / "n.onnx"))
    with pytest.raises(mx.MXNetError, match=r"cannot be inferred|is not told"):
        (unknown * 2).bind(mx.cpu(), {"x": mx.nd.ones((2, 64)), **arguments})


def test_what_is_no_onnx_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="Cannot read"):
        mx.contrib.onnx.import_model(str(tmp_path / "none.onnx"))
    whole = Path(save(tmp_path / "m.onnx")).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], b"\x3a\x05abcde"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises((ModelFormatError, InvalidRequestError)):
            mx.contrib.onnx.import_model(str(tmp_path / "bad.onnx"))
    net, _, _ = mx.contrib.onnx.import_model(str(tmp_path / "m.onnx"))
    text = net.tojson().replace("head", "herd", 1)
    with pytest.raises(ModelFormatError):
        mx.sym.load_json(text).list_outputs()


def test_whatever_is_changed_in_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    whole = Path(save(tmp_path / "m.onnx")).read_bytes()
    generator = np.random.default_rng(5)
    path = tmp_path / "changed.onnx"
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(3):
            # Most of the file is a weight, in which every change is as good as another.
            at = int(generator.choice([generator.integers(200), generator.integers(len(content))]))
            content[at : at + int(generator.integers(3))] = generator.bytes(
                int(generator.integers(1, 4))
            )
        path.write_bytes(content)
        with contextlib.suppress(ElasticInferenceError):
            net, _, _ = mx.contrib.onnx.import_model(str(path))
            mx.sym.load_json(net.tojson()).list_outputs()


def test_external_data_stays_beside_the_model(tmp_path: Path) -> None:
    path = Path(save(tmp_path / "m.onnx", external=True))
    outside = path.read_bytes().replace(b"w.bin", b"../wb")
    path.write_bytes(outside)
    with pytest.raises(ModelFormatError, match="not beside it"):
        mx.contrib.onnx.import_model(str(path))
