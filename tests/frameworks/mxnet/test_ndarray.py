from __future__ import annotations

import pickle
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.errors import ElasticInferenceError, InvalidRequestError
from elastic_inference.frameworks.mxnet import context, creation, random
from elastic_inference.frameworks.mxnet.arrays import reshaped
from elastic_inference.frameworks.mxnet.errors import MXNetError
from elastic_inference.frameworks.mxnet.ndarray import expected, wrap


def test_arrays_are_float32_unless_told() -> None:
    made = creation.array([[1, 2], [3, 4]])
    assert (made.dtype, made.shape, made.size, made.ndim) == (np.float32, (2, 2), 4, 2)
    assert creation.array(np.ones(3)).dtype is np.float32
    assert creation.array(np.ones(3), dtype="int8").dtype is np.int8
    assert creation.array(creation.zeros(2, dtype=np.uint8)).dtype is np.uint8
    assert str(made.context) == "cpu(0)"


def test_they_print_as_in_mxnet() -> None:
    assert str(creation.ones((1,))) == "\n[1.]\n<NDArray 1 @cpu(0)>"
    assert repr(creation.zeros((2, 3))) == "\n[[0. 0. 0.]\n [0. 0. 0.]]\n<NDArray 2x3 @cpu(0)>"


def test_a_scalar_has_one_dimension() -> None:
    made = creation.array([5, 6])
    assert made[1].shape == (1,)
    assert made[1].asscalar() == 6
    with pytest.raises(ValueError, match="The current array is not a scalar"):
        made.asscalar()
    with pytest.raises(ValueError, match="truth value of an NDArray with multiple elements"):
        bool(made)


def test_slices_share_the_memory() -> None:
    made = creation.zeros((3, 4))
    row = made[1]
    row[:] = 7
    assert made.asnumpy().sum() == 28
    before = made.version
    made[1:2][:, 0] = 1
    assert made.version > before
    assert made.asnumpy()[1].tolist() == [1, 7, 7, 7]
    copied = made[:, 0:2]
    copied[:] = 0
    assert made.asnumpy()[1, 0] == 1
    assert made[creation.array([1, 2])].shape == (2, 4)
    assert [row.shape for row in made] == [(4,)] * 3
    with pytest.raises(IndexError):
        made[7]


def test_arithmetic_keeps_the_dtype() -> None:
    made = creation.array([1, 2, 3])
    assert (2 * made + 1).asnumpy().tolist() == [3, 5, 7]
    assert (made / 2).asnumpy().tolist() == [0.5, 1, 1.5]
    assert (1 - made).asnumpy().tolist() == [0, -1, -2]
    assert (made > 1).asnumpy().tolist() == [0, 1, 1]
    assert (made > 1).dtype is np.float32
    assert (made == made.copy()).asnumpy().tolist() == [1, 1, 1]
    assert (made == None) is False  # noqa: E711 - what scripts write
    assert (2**made).asnumpy().tolist() == [2, 4, 8]
    assert (creation.array([5], dtype="int32") / 2).asnumpy().tolist() == [2]
    made += 1
    assert made.asnumpy().tolist() == [2, 3, 4]
    assert (creation.ones((2, 1)) + creation.ones((1, 3))).shape == (2, 3)
    with pytest.raises(MXNetError, match="expected float32, got int32"):
        made + creation.array([1, 1, 1], dtype="int32")


@pytest.mark.parametrize(
    ("shape", "wanted", "found"),
    [
        ((2, 3, 4), (4, 0, 2), [4, 3, 2]),
        ((2, 3, 4), (6, 1, -1), [6, 1, 4]),
        ((2, 3, 4), (-2,), [2, 3, 4]),
        ((2, 3, 4), (2, -2), [2, 3, 4]),
        ((2, 3, 4), (-3, 4), [6, 4]),
        ((2, 3, 4), (0, -3), [2, 12]),
        ((2, 3, 4), (-4, 1, 2, -2), [1, 2, 3, 4]),
        ((2, 3, 4), (2, -4, -1, 3, -2), [2, 1, 3, 4]),
    ],
)
def test_reshape_reads_mxnet_s_codes(
    shape: tuple[int, ...], wanted: tuple[int, ...], found: list[int]
) -> None:
    assert reshaped(shape, wanted) == found
    assert creation.zeros(shape).reshape(wanted).shape == tuple(found)


def test_reshape_may_read_from_behind() -> None:
    assert reshaped((10, 5, 4), (-1, 0)) == [40, 5]
    assert reshaped((10, 5, 4), (-1, 0), reverse=True) == [50, 4]
    with pytest.raises(MXNetError):
        reshaped((2, 3), (4, 2))
    with pytest.raises(MXNetError):
        reshaped((2, 3), (0, 0, 0))


def test_layout_methods() -> None:
    picture = creation.zeros((4, 6, 3))
    assert picture.transpose((2, 0, 1)).expand_dims(axis=0).shape == (1, 3, 4, 6)
    assert picture.T.shape == (3, 6, 4)
    assert picture.flatten().shape == (4, 18)
    assert picture.expand_dims(0).squeeze().shape == (4, 6, 3)
    assert picture.astype("uint8").dtype is np.uint8
    assert creation.zeros((1, 3)).broadcast_to((2, 0)).shape == (2, 3)


def test_nothing_can_be_put_on_the_accelerator() -> None:
    with pytest.raises(MXNetError, match=r"src/storage/storage.cc:145: Unimplemented device 6$"):
        creation.array([1, 2], ctx=context.eia())
    with pytest.raises(ElasticInferenceError, match="Unimplemented device 6"):
        creation.zeros((2,)).as_in_context(context.eia())


def test_a_gpu_is_refused() -> None:
    assert context.num_gpus() == 0
    with pytest.raises(MXNetError, match="Operator _ones is not implemented for GPU") as caught:
        creation.ones((1,), ctx=context.gpu())
    assert "GPU support is disabled. Compile MXNet with USE_CUDA=1" in str(caught.value)
    with pytest.raises(RuntimeError, match="GPU support is disabled"):
        creation.array([1], ctx=context.gpu())
    with context.gpu(), pytest.raises(MXNetError, match="GPU support is disabled"):
        random.normal(shape=(1,))
    assert context.current_context() == context.cpu()


def test_contexts_are_values() -> None:
    assert context.eia() == context.eia(0) != context.eia(1)
    assert context.eia().device_typeid == 6
    assert str(context.eia(2)) == "eia(2)"
    assert len({context.cpu(), context.cpu(0), context.gpu()}) == 2
    assert pickle.loads(pickle.dumps(context.eia(1))) == context.eia(1)  # noqa: S301 - our own
    with pytest.raises(KeyError):
        context.Context("tpu")


def test_what_is_being_computed_is_waited_for_when_read() -> None:
    future: Future[Any] = Future()
    made = expected(future, (2,), np.float32)
    copied = made.copy()
    assert (made.shape, made.dtype) == ((2,), np.float32)
    result = np.array([1, 2], np.float32)
    result.flags.writeable = False
    future.set_result(result)
    assert made.asnumpy().tolist() == [1, 2]
    part = made[0:1]
    part[:] = 3
    made[1] = 5
    assert made.asnumpy().tolist() == [3, 5]
    assert copied.asnumpy().tolist() == [1, 2]


def test_a_failure_is_raised_each_time_it_is_read() -> None:
    future: Future[Any] = Future()
    future.set_exception(MXNetError("no"))
    made = expected(future, (2,), np.float32)
    for _ in range(2):
        with pytest.raises(MXNetError):
            made.wait_to_read()


def test_assignment_takes_scalars_arrays_and_lists() -> None:
    made = creation.zeros((2, 2))
    made[:] = np.array([[1.0, 2], [3, 4]])
    made[0, 1] = creation.array([9])
    made[1] = [5, 6]
    assert made.asnumpy().tolist() == [[1, 9], [5, 6]]
    with pytest.raises(ValueError, match="broadcast"):
        made[:] = creation.zeros((3, 3))
    counts = creation.zeros((2,), dtype="int32")
    counts[:] = 2.7
    assert counts.asnumpy().tolist() == [2, 2]


def test_arrays_pickle() -> None:
    made = creation.array([1, 2])
    again = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own
    assert again.asnumpy().tolist() == [1, 2]


def test_random_arrays_repeat_from_a_seed() -> None:
    random.seed(7)
    first = random.normal(shape=(3,))
    random.seed(7)
    assert random.normal(shape=(3,)).asnumpy().tolist() == first.asnumpy().tolist()
    assert random.uniform(1, 2, shape=(2, 2)).shape == (2, 2)
    assert random.randint(0, 3, shape=(2,)).dtype is np.int32
    out = creation.zeros((4,))
    random.normal(out=out)
    assert np.abs(out.asnumpy()).sum() > 0


def test_further_ways_to_make_arrays() -> None:
    assert creation.arange(3).asnumpy().tolist() == [0, 1, 2]
    assert creation.arange(1, 3, repeat=2).asnumpy().tolist() == [1, 1, 2, 2]
    assert creation.full((2,), 3).asnumpy().tolist() == [3, 3]
    assert creation.eye(2).asnumpy().tolist() == [[1, 0], [0, 1]]
    assert creation.linspace(0, 1, 3).asnumpy().tolist() == [0, 0.5, 1]
    assert creation.concatenate([creation.ones((1, 2)), creation.zeros((1, 2))]).shape == (2, 2)
    assert creation.empty(3).shape == (3,)
    shared = np.ones(2, np.float32)
    assert creation.from_numpy(shared).asnumpy().tolist() == [1, 1]
    with pytest.raises(ValueError, match="source_array must be array like object"):
        creation.array([[1], [2, 3]])


def test_errors_are_of_both_trees() -> None:
    with pytest.raises(InvalidRequestError):
        creation.array([1, 2]).asscalar()
    error = pickle.loads(pickle.dumps(MXNetError("what happened")))  # noqa: S301 - our own
    assert isinstance(error, MXNetError)
    assert str(error) == "what happened"
    assert wrap(np.float32(1)).shape == (1,)


def test_arrays_are_saved_and_loaded(tmp_path: Path) -> None:
    path = str(tmp_path / "a.params")
    creation.save(path, {"a": creation.ones((2,)), "b": creation.zeros((1,), dtype="int64")})
    found = creation.load(path)
    assert (found["a"].asnumpy().tolist(), found["b"].dtype) == ([1, 1], np.int64)
    found["a"][:] = 5
    assert creation.load(path)["a"].asnumpy().tolist() == [1, 1]
    assert creation.load_frombuffer(Path(path).read_bytes())["a"].shape == (2,)
    creation.save(path, [creation.ones((3,))])
    assert [each.shape for each in creation.load(path)] == [(3,)]
    creation.save(path, creation.ones((4,)))
    assert creation.load(path)[0].shape == (4,)
    with pytest.raises(TypeError, match="buf required"):
        creation.load_frombuffer(7)  # type: ignore[arg-type]
