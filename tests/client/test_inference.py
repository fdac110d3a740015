"""Every kind of value over every transport, against a real accelerator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from elastic_inference.client import Accelerator
from elastic_inference.errors import (
    InvalidRequestError,
    ModelFormatError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.protocol.tensors import Packed, Value
from tests.client.models import FLOAT, build, identity, scaled, value

Attach = Callable[..., Accelerator]
NUMERIC: dict[int, type] = {
    TensorProto.BOOL: np.bool_,
    TensorProto.UINT8: np.uint8,
    TensorProto.UINT16: np.uint16,
    TensorProto.UINT32: np.uint32,
    TensorProto.UINT64: np.uint64,
    TensorProto.INT8: np.int8,
    TensorProto.INT16: np.int16,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.FLOAT16: np.float16,
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.BFLOAT16: np.uint16,
    TensorProto.FLOAT8E4M3FN: np.uint8,
}
# Around the limits between the ways that tensors take: 16 KiB, 48 KiB, the 64 KiB buffer.
SHAPES = [(), (0,), (3,), (0, 7), (2, 3, 5), (64, 63), (64, 64), (9, 4096), (1, 3, 224, 224)]


@pytest.mark.parametrize("dtype", NUMERIC)
def test_numeric_types_and_shapes(attach: Attach, dtype: int) -> None:
    accelerator = attach()
    kind = np.dtype(NUMERIC[dtype])
    model = accelerator.load(identity(dtype))
    rng = np.random.default_rng(dtype)
    for shape in SHAPES:
        x = rng.integers(0, 2 if kind == np.bool_ else 100, shape).astype(kind)
        for _ in range(3):
            (y,) = model.run({"x": x})
            assert isinstance(y, np.ndarray)
            assert y.dtype == kind
            assert y.shape == shape
            assert y.tobytes() == x.tobytes()
            assert y.flags.writeable
            assert y.flags.aligned


def test_views_and_byte_orders(attach: Attach) -> None:
    model = attach().load(identity(FLOAT))
    base = np.arange(200 * 300, dtype=np.float32).reshape(200, 300)
    for x in (
        base[::2],
        base[:, 5:70],
        base.T,
        base[::-1],
        base.astype(">f4"),
        base[:3, :3].astype(">f4"),
        np.asfortranarray(base),
        base[7:9],
        np.broadcast_to(base[0], (50, 300)),
        np.float32(3.5),
    ):
        np.testing.assert_array_equal(model.run({"x": x})[0], x)  # type: ignore[dict-item]  # a scalar is taken too


def test_answers_are_never_overwritten(attach: Attach) -> None:
    model = attach().load(identity(FLOAT))
    for size in (16, 5_000, 20_000, 400_000):
        xs = [np.full(size, number, np.float32) for number in range(6)]
        ys = [model.run({"x": x})[0] for x in xs]
        for number, y in enumerate(ys):
            np.testing.assert_array_equal(y, xs[number])


def test_strings(attach: Attach) -> None:
    model = attach().load(identity(TensorProto.STRING))
    texts = np.array([["straße", "日本", ""], ["a b", "\n", "x" * 100_000]], object)
    (y,) = model.run({"x": texts})
    assert isinstance(y, np.ndarray)
    assert y.shape == (2, 3)
    assert [item.decode() for item in y.ravel()] == list(texts.ravel())
    (z,) = model.run({"x": np.array(["fixed", "width"])})
    assert list(z) == [b"fixed", b"width"]  # type: ignore[arg-type]  # an array
    (empty,) = model.run({"x": np.empty((0,), object)})
    assert empty.shape == (0,)  # type: ignore[union-attr]  # an array


def test_sub_byte_types(attach: Attach) -> None:
    model = attach().load(
        build(
            [
                helper.make_node("Cast", ["x"], ["wide"], to=FLOAT),
                helper.make_node("Cast", ["wide"], ["y"], to=TensorProto.INT4),
            ],
            [value("x", TensorProto.INT4, ["n"])],
            [value("y", TensorProto.INT4, ["n"]), value("wide", FLOAT, ["n"])],
        )
    )
    x = Packed("INT4", (5,), np.array([0x21, 0xF3, 0x07], np.uint8))
    y, wide = model.run({"x": x})
    assert isinstance(y, Packed)
    assert (y.datatype, y.shape, y.data.tolist()) == ("INT4", (5,), [0x21, 0xF3, 0x07])
    np.testing.assert_array_equal(wide, np.array([1, 2, 3, -1, 7], np.float32))


def test_sequences_optionals_and_maps(attach: Attach) -> None:
    accelerator = attach()
    sequence = build(
        [
            helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0),
            helper.make_node("Identity", ["s"], ["t"]),
        ],
        [helper.make_tensor_sequence_value_info("s", FLOAT, None)],
        [value("y"), helper.make_tensor_sequence_value_info("t", FLOAT, None)],
    )
    parts: list[Value] = [np.ones((2, 3), np.float32), np.full((30_000, 3), 2, np.float32)]
    y, t = accelerator.load(sequence).run({"s": parts})
    np.testing.assert_array_equal(y, np.concatenate(parts))  # type: ignore[arg-type]  # an array
    assert isinstance(t, list)
    for have, want in zip(t, parts, strict=True):
        np.testing.assert_array_equal(have, want)

    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    optional = accelerator.load(
        build(
            [helper.make_node("OptionalHasElement", ["x"], ["b"])],
            [helper.make_value_info("x", kind)],
            [value("b", TensorProto.BOOL, [])],
        )
    )
    assert optional.run({"x": np.ones(2, np.float32)})[0]

    keys = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, []))
    zipmap = build(
        [
            helper.make_node(
                "ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog"]
            )
        ],
        [value("x", FLOAT, ["n", 2])],
        [helper.make_value_info("y", helper.make_sequence_type_proto(keys))],
    )
    x = np.array([[1, 2], [3, 4]], np.float32)
    assert accelerator.load(zipmap).run({"x": x}) == [
        [{"cat": 1.0, "dog": 2.0}, {"cat": 3.0, "dog": 4.0}]
    ]


def test_several_inputs_and_chosen_outputs(attach: Attach) -> None:
    model = attach().load(
        build(
            [
                helper.make_node("Add", ["a", "b"], ["sum"]),
                helper.make_node("Mul", ["a", "b"], ["product"]),
                helper.make_node("Cast", ["c"], ["whole"], to=TensorProto.INT64),
            ],
            [value("a", FLOAT, ["n"]), value("b", FLOAT, ["n"]), value("c", TensorProto.BOOL)],
            [value("sum"), value("product"), value("whole", TensorProto.INT64)],
        )
    )
    for size in (1, 100, 10_000, 300_000):
        a, b = np.random.default_rng(size).random((2, size), np.float32)
        c = np.ones(3, np.bool_)
        want = {"sum": a + b, "product": a * b, "whole": np.ones(3, np.int64)}
        for names in (None, ["whole", "sum"], ("product",), iter(["sum", "product"])):
            listed = list(want) if names is None else None
            given = list(names) if names is not None else None
            got = model.run({"c": c, "b": b, "a": a}, given)
            for name, value_ in zip(listed or given or [], got, strict=True):
                np.testing.assert_array_equal(value_, want[name])


def test_wrong_inputs_are_explained_and_nothing_is_lost(attach: Attach) -> None:
    accelerator = attach()
    model = accelerator.load(scaled(2))
    x = np.ones(4, np.float32)
    feeds: list[Any] = [
        {},
        {"z": x},
        {"x": x, "z": x},
        {"x": x.astype(np.int32)},
        {"x": x.reshape(2, 2)},
        {"x": x.astype(np.float64).repeat(50_000)},
        {"x": [1.0, 2.0]},
        {"x": None},
        {"x": 5.0},
        {"x": np.array(["a"], object)},
        {"x": np.array(["2020-01-01"], "datetime64[D]")},
    ]
    for feed in feeds:
        with pytest.raises(InvalidRequestError) as caught:
            model.run(feed)
        assert caught.value.accelerator_id == accelerator.id
        assert caught.value.request_id.startswith("EI-")
        np.testing.assert_array_equal(model.run({"x": x})[0], x * 2)
    with pytest.raises(InvalidRequestError):
        model.run({"x": x}, ["no such output"])
    for mistake in ([x], None, 5):
        with pytest.raises((AttributeError, TypeError)):
            model.run(mistake)  # type: ignore[arg-type]  # what a caller may still do
    # All of it on the one connection.
    assert len(accelerator._link._connections) == len(accelerator._link.idle) == 1


def test_a_model_that_is_none(attach: Attach) -> None:
    accelerator = attach()
    with pytest.raises(ModelFormatError):
        accelerator.load(b"this is not a model")
    with pytest.raises(InvalidRequestError):
        accelerator.load(scaled(2), {"threads": "many"})


def test_eight_threads_get_their_own_answers(attach: Attach) -> None:
    accelerator = attach()
    models = [accelerator.load(scaled(factor)) for factor in (2, 3)]
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait(30.0)
        rng = np.random.default_rng(number)
        for turn in range(40):
            size = (7, 5_000, 15_000, 150_000)[turn % 4]
            x = rng.random(size, np.float32)
            which = rng.integers(2)
            (y,) = models[which].run({"x": x})
            np.testing.assert_array_equal(y, x * np.float32((2, 3)[which]))

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, number) for number in range(8)]:
            done.result(100.0)


def test_arrays_that_are_passed_without_a_copy(attach: Attach) -> None:
    accelerator = attach()
    model = accelerator.load(identity(FLOAT, ["n", 1000]))
    x = model.empty("x", (400, 1000))
    other = accelerator.empty((400, 1000), np.float32)
    for number in range(3):
        x[:] = number
        other[:] = -number
        assert (np.asarray(model.run({"x": x})[0]) == number).all()
        assert (np.asarray(model.run({"x": other})[0]) == -number).all()
    x[:] = np.arange(400)[:, None]
    for view in (x[100:], x[5:390], x[::2], x[:, ::-1], x.reshape(800, 500)[:400].repeat(2, 1)):
        np.testing.assert_array_equal(model.run({"x": view})[0], view)
    small = model.empty("x", (1, 1000))
    assert small.shape == (1, 1000)
    assert small.dtype == np.float32
    with pytest.raises(NotFoundError):
        model.empty("z", (1, 1000))
    with pytest.raises(InvalidRequestError, match="shape"):
        model.empty("x")


def test_closed_models_and_accelerators_say_so(attach: Attach) -> None:
    accelerator = attach()
    model = accelerator.load(scaled(5))
    x = np.ones(3, np.float32)
    with model:
        model.run({"x": x})
    model.close()
    with pytest.raises((UnavailableError, NotFoundError)):
        model.run({"x": x})
    again = accelerator.load(scaled(5))
    np.testing.assert_array_equal(again.run({"x": x})[0], x * 5)
    accelerator.close()
    accelerator.close()
    with pytest.raises(UnavailableError, match="closed"):
        again.run({"x": x})
    with pytest.raises(UnavailableError, match="closed"):
        accelerator.load(scaled(6))


def test_one_users_close_leaves_the_others_model(attach: Attach) -> None:
    accelerator = attach()
    first, second = accelerator.load(scaled(7)), accelerator.load(scaled(7))
    assert first.handle == second.handle
    first.close()
    index = accelerator._link.request("POST", "/v2/repository/index", {"ready": True})
    assert first.handle in {entry["name"] for entry in index}
    second.close()
    index = accelerator._link.request("POST", "/v2/repository/index", {"ready": True})
    assert first.handle not in {entry["name"] for entry in index}


def test_what_the_accelerator_says_of_itself(attach: Attach, transport: str) -> None:
    accelerator = attach()
    assert accelerator.transport == transport
    info = accelerator.info()
    assert info["accelerator_id"] == accelerator.id
    assert info["accelerator_type"] == accelerator.type == "eia1.medium"
    before = accelerator.usage()["requests"]
    accelerator.load(scaled(8)).run({"x": np.ones(1, np.float32)})
    assert accelerator.usage()["requests"] == before + 1
