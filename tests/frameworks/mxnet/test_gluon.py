from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference import mxnet as mx
from elastic_inference.client import Accelerator
from tests.frameworks.mxnet.networks import convolutional, random_parameters

SHAPE = (2, 3, 16, 16)


@pytest.fixture
def exported(tmp_path: Path) -> tuple[str, str]:
    net = convolutional()
    arguments, states = random_parameters(net, data=SHAPE)
    mx.model.save_checkpoint(str(tmp_path / "net"), 0, net, arguments, states)
    return str(tmp_path / "net-symbol.json"), str(tmp_path / "net-0000.params")


def test_an_exported_block_runs_anywhere(exported: tuple[str, str], eia: Accelerator) -> None:
    data = mx.nd.random.uniform(shape=SHAPE)
    local = mx.gluon.SymbolBlock.imports(exported[0], ["data"], exported[1], ctx=mx.cpu())
    remote = mx.gluon.SymbolBlock.imports(exported[0], "data", exported[1], ctx=mx.eia())
    expected = local(data).asnumpy()
    before = eia.usage()["requests"]
    np.testing.assert_allclose(remote(data).asnumpy(), expected, rtol=1e-5)
    assert eia.usage()["requests"] > before
    local.hybridize(backend="EIA")
    np.testing.assert_allclose(local(data).asnumpy(), expected, rtol=1e-5)
    local.optimize_for(data, backend="EIA")
    # Each call gives arrays of its own, for every shape.
    outputs = [remote(data * factor) for factor in (1, 2)]
    assert not np.allclose(outputs[0].asnumpy(), outputs[1].asnumpy())
    for count in range(1, 8):
        assert remote(mx.nd.ones((count, 3, 16, 16))).shape == (count, 4)
    remote.close()
    local.close()


def test_parameters_of_a_block(exported: tuple[str, str], tmp_path: Path) -> None:
    block = mx.gluon.SymbolBlock.imports(exported[0], ["data"])
    with pytest.raises(RuntimeError, match="has not been initialized"):
        block(mx.nd.ones(SHAPE))
    block.load_parameters(exported[1], ctx=mx.cpu())
    assert "conv_weight" in block.collect_params()
    assert list(block.collect_params("fc_.*")) == ["fc_weight", "fc_bias"]
    first = block(mx.nd.ones(SHAPE)).asnumpy()
    weight = block.collect_params()["fc_weight"]
    weight.set_data(weight.data() * 0)
    assert not np.allclose(block(mx.nd.ones(SHAPE)).asnumpy(), first)
    with pytest.raises(AssertionError, match="incompatible"):
        weight.set_data(mx.nd.ones((1,)))
    block.save_parameters(str(tmp_path / "own.params"))
    json_file, params_file = block.export(str(tmp_path / "again"))
    again = mx.gluon.SymbolBlock.imports(json_file, ["data"], params_file)
    assert np.allclose(again(mx.nd.ones(SHAPE)).asnumpy(), block(mx.nd.ones(SHAPE)).asnumpy())
    mx.nd.save(str(tmp_path / "few.params"), {"fc_weight": mx.nd.ones((4, 512))})
    with pytest.raises(AssertionError, match="is missing in file"):
        block.load_parameters(str(tmp_path / "few.params"))
    mx.nd.save(str(tmp_path / "other.params"), {"other": mx.nd.ones((1,))})
    with pytest.raises(AssertionError, match="is not present in"):
        block.load_parameters(str(tmp_path / "other.params"), allow_missing=True)
    with pytest.raises(ValueError, match="takes"):
        block()
    with pytest.raises(mx.MXNetError, match="backend 'TensorRT'"):
        block.hybridize(backend="TensorRT")
    with pytest.raises(ValueError, match="Maximum one EIA device"):
        block.reset_ctx([mx.eia(0), mx.eia(1)])
    with pytest.raises(mx.MXNetError, match="GPU support is disabled"):
        block.collect_params().reset_ctx(mx.gpu())
    assert isinstance(block, mx.gluon.Block)


def test_a_block_of_a_symbol_gives_all_of_its_outputs() -> None:
    data = mx.sym.var("data")
    block = mx.gluon.SymbolBlock([mx.sym.exp(data), data * 2], data)
    outputs = block(mx.nd.zeros((2,)))
    assert [each.asnumpy().tolist() for each in outputs] == [[1, 1], [0, 0]]
    assert isinstance(block(mx.sym.var("y")), mx.sym.Symbol)


def test_pictures_are_prepared_as_gluon_does() -> None:
    transforms: Any = mx.gluon.data.vision.transforms
    prepare = transforms.Compose(
        [
            transforms.Resize(8, keep_ratio=True),
            transforms.CenterCrop(4),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            transforms.Cast("float16"),
        ]
    )
    found = prepare(mx.nd.full((12, 20, 3), 255, dtype="uint8"))
    assert (found.shape, found.dtype) == ((3, 4, 4), np.float16)
    assert found.asnumpy().tolist() == np.ones((3, 4, 4)).tolist()


def test_data_is_divided_among_contexts() -> None:
    parts = mx.gluon.utils.split_and_load(np.arange(4), [mx.cpu(0), mx.cpu(1)])
    assert [each.asnumpy().tolist() for each in parts] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="cannot be evenly split"):
        mx.gluon.utils.split_data(mx.nd.ones((3,)), 2)


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert mx.gluon.utils.download("http://127.0.0.1:9/a.txt", str(tmp_path)) == str(
        tmp_path / "a.txt"
    )
    digest = "11f6ad8ec52a2984abaafd7c3b516503785c2072"
    assert mx.gluon.utils.check_sha1(str(tmp_path / "a.txt"), digest)
