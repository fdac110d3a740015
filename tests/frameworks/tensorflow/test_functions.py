"""`accelerate`: what is in memory takes and gives on an accelerator what it does without."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.frameworks.tensorflow.tracing import save
from elastic_inference.settings import ClientSettings
from elastic_inference.tensorflow import accelerate
from tests.processes import AcceleratorProcess


class Pair(NamedTuple):
    sum: Any
    rest: Any


class Model(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Has a variable and a table, and nested arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2))
        keys, values = tf.constant(["one", "two"]), tf.constant([1.0, 2.0])
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(keys, values), -1.0
        )

    def __call__(self, pair: Any, *, scale: float = 1.0) -> Pair:
        product = tf.matmul(pair["x"], self.weights) * scale
        found = self.table.lookup(pair["words"])
        return Pair(product + found[:, tf.newaxis], {"found": [found], "nothing": None})


def _same(first: Any, second: Any) -> None:
    tf.nest.assert_same_structure(first, second)
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True):
        assert type(a) is type(b)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


@pytest.mark.slow
def test_a_module_with_a_table_and_nested_values(target: Accelerator) -> None:
    model = Model()
    accelerated = accelerate(model, accelerator_id=target)
    for scale in (1.0, 3.0):
        pair = {"x": np.ones((2, 3), np.float32), "words": tf.constant(["two", "none"])}
        _same(accelerated(pair, scale=scale), model(pair, scale=scale))
    assert len(accelerated._variants) == 2
    assert "LookupTableFind" in accelerated.explain()
    accelerated.close()


@pytest.mark.slow
def test_a_function_whose_sizes_vary(target: Accelerator) -> None:
    weights = tf.Variable([[1.0], [2.0]])

    def plain(x: Any, y: Any) -> Any:
        return tf.matmul(x, weights) + y, tf.reduce_sum(x)

    function = tf.function(plain)

    accelerated = accelerate(function, accelerator_id=target)
    for count in (1, 2, 3, 2):
        x, y = tf.ones([count, 2]), tf.Variable(3.0)
        first, second = accelerated(x, y), function(x, y)
        _same(first, second)
    (variant,) = accelerated._variants.values()
    assert variant.shapes == ((None, 2), ())
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda n: accelerated(np.ones((n, 2), "f"), y), [1, 2] * 4))
    assert len(accelerated._variants) == 1
    assert [len(result[0]) for result in results] == [1, 2] * 4


def test_an_input_signature_is_prepared_at_once(target: Accelerator) -> None:
    def function(x: Any) -> Any:
        return {"doubled": x * 2}

    signature = [tf.TensorSpec([None], tf.float32)]
    accelerated = accelerate(function, signature, accelerator_id=target)
    assert len(accelerated._variants) == 1
    assert accelerated([1, 2])["doubled"].numpy().tolist() == [2, 4]
    assert accelerated(x=np.array([1.5]))["doubled"].numpy().tolist() == [3]
    with pytest.raises(ValueError, match="Cannot feed value of shape"):
        accelerated(np.ones((1, 1)))
    with pytest.raises(TypeError, match="structure"):
        accelerated(1, 2)


@pytest.mark.slow
def test_a_concrete_function(target: Accelerator) -> None:
    def function(x: Any) -> Any:
        return {"doubled": x * 2}

    concrete = tf.function(function).get_concrete_function(tf.TensorSpec([2], tf.int32, "x"))
    again = accelerate(concrete, accelerator_id=target)
    assert again(np.array([1, 2]))["doubled"].numpy().tolist() == [2, 4]


def test_ragged_values(target: Accelerator) -> None:
    def function(x: Any) -> Any:
        return x * 2, tf.reduce_sum(x, axis=1)

    accelerated = accelerate(function, accelerator_id=target)
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    doubled, sums = accelerated(ragged)
    assert doubled.to_list() == [[2], [4, 6]]
    assert sums.numpy().tolist() == [1, 5]


@pytest.mark.parametrize("on_loss", ["error", "local"])
def test_a_lost_accelerator(
    on_loss: str,
    start_accelerator: Callable[..., AcceleratorProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EI_ON_LOSS", on_loss)
    process = start_accelerator()
    lost = connect(
        settings=ClientSettings(recovery_timeout=0.2),
        address=Address(socket_path=str(process.config.data_socket)),
        token=process.token(),
    )
    signature = [tf.TensorSpec([None], tf.float32)]
    accelerated = accelerate(lambda x: x * 2, signature, accelerator_id=lost)
    assert accelerated([1.0]).numpy() == [2]
    process.process.kill()
    process.process.wait(10)
    if on_loss == "error":
        with pytest.raises(tf.errors.UnavailableError):
            accelerated(tf.ones([1]))
    else:
        with pytest.warns(RuntimeWarning, match="goes on in this process's own TensorFlow"):
            assert accelerated(tf.ones([1])).numpy() == [2]
        assert accelerated(tf.ones([1])).numpy() == [2]
    lost.close()


def test_without_an_accelerator_it_is_the_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EI_VISIBLE_DEVICES", "")
    accelerated = accelerate(lambda x: {"y": tf.constant(x) + 1})
    assert accelerated([1])["y"].numpy().tolist() == [2]
    assert accelerated.arrays([1])["y"].tolist() == [2]
    assert "Nothing" in accelerated.explain()
    with pytest.raises(TypeError, match="A int cannot be called"):
        accelerate(3)  # type: ignore[arg-type]  # that is the point


def test_what_cannot_be_saved_says_what_to_do(tmp_path: Path) -> None:
    class Holder:
        table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant([1]), tf.constant([2])), -1
        )

    holder = Holder()

    def find(x: Any) -> Any:
        return holder.table.lookup(x)

    with pytest.raises(ValueError, match=r"attributes of a tf\.Module"):
        save(find, ((tf.TensorSpec([None], tf.int32),), {}), tmp_path)


def test_what_is_saved_again_is_the_same(tmp_path: Path) -> None:
    weights = tf.Variable([1.0, 2.0])
    inner = tf.function(lambda x: tf.cond(x[0] > 0, lambda: x * weights, lambda: x - weights))

    def function(x: Any) -> Any:
        return inner(inner(x))

    saved = []
    for name in ("first", "second"):
        save(function, ((tf.TensorSpec([2]),), {}), tmp_path / name)
        saved.append((tmp_path / name / "saved_model.pb").read_bytes())
        # Numbers of another length come next.
        for size in range(100):
            tf.function(lambda x: x).get_concrete_function(tf.TensorSpec([size]))
    assert saved[0] == saved[1]
    loaded = tf.saved_model.load(str(tmp_path / "second")).signatures["serving_default"]
    for x in ([1.0, 1.0], [-1.0, 1.0]):
        result = loaded(input_0=tf.constant(x))["output_0"]
        np.testing.assert_array_equal(result.numpy(), function(tf.constant(x)).numpy())


_SAVE = """
import hashlib, sys, tempfile
from pathlib import Path
import tensorflow as tf
from elastic_inference.frameworks.tensorflow.tracing import save

module = tf.Module()
module.parts = [tf.Variable(float(number)) for number in range(30)]
function = tf.function(lambda x: tf.add_n([x * part for part in module.parts]))
with tempfile.TemporaryDirectory() as name:
    save(function, ((tf.TensorSpec([None]),), {}), Path(name))
    files = sorted(path for path in Path(name).rglob("*") if path.is_file())
    print([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
"""


@pytest.mark.slow
def test_what_is_saved_is_the_same_in_every_process() -> None:
    first, second = (
        subprocess.run(
            [sys.executable, "-c", _SAVE], check=True, capture_output=True, text=True, timeout=100
        ).stdout
        for _ in range(2)
    )
    assert first == second
    assert first.count("'") == 6
