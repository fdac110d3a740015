"""`EIKerasModel` predicts what Keras predicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from elastic_inference.client import Accelerator
from elastic_inference.tensorflow import EIKerasModel, accelerate

# Keras 3 makes arrays in a way that numpy 2 will end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
X = np.random.default_rng(0).random((70, 3)).astype(np.float32)
Y = np.random.default_rng(1).random((70, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def plain() -> Any:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="relu")])


@pytest.fixture(scope="module")
def double() -> Any:
    first, second = keras.Input((3,), name="first"), keras.Input((2,), name="second")
    together = keras.layers.Concatenate()([first, second])
    outputs = {"sum": keras.layers.Dense(1)(together), "second": second * 2.0}
    return keras.Model([first, second], outputs)


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras is untyped
    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Any:
        return X[number : number + 1], Y[number : number + 1]


def _same(first: Any, second: Any) -> None:
    tf.nest.assert_same_structure(first, second)
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True):
        assert isinstance(a, np.ndarray)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_it_predicts_what_keras_predicts(plain: Any, target: Accelerator) -> None:
    model = EIKerasModel(plain, accelerator_id=target)
    before = target.usage()["requests"]
    expected = plain.predict(X, verbose=0)
    _same(model.predict(X), expected)
    assert target.usage()["requests"] - before == 3
    _same(model.predict(X.astype(np.float64), batch_size=64, verbose=0), expected)
    _same(model.predict(X.tolist(), batch_size=100), expected)
    _same(model.predict(tf.constant(X)), expected)
    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    _same(model.predict(dataset.batch(40)), expected)
    _same(model.predict(dataset.batch(40), steps=1), expected[:40])
    _same(model.predict(X[n : n + 10] for n in range(0, 70, 10)), expected)
    _same(model.predict(_Batches()), expected[:2])
    _same(model.predict_on_batch(X[:4]), expected[:4])
    assert isinstance(model(X[:4], training=False), tf.Tensor)
    _same(model(X[:4]).numpy(), expected[:4])
    accelerated = accelerate(plain, accelerator_id=target)
    _same(accelerated(X, training=False).numpy(), expected)
    with pytest.raises(TypeError, match="Only the first 1 arguments"):
        accelerated(X, training=True)
    assert "MatMul" in model.explain()
    model.close()
    _same(model.predict_on_batch(X[:4]), expected[:4])


def test_several_inputs_and_outputs(double: Any, target: Accelerator) -> None:
    model = EIKerasModel(double, accelerator_id=target)
    expected = double.predict([X, Y], verbose=0)
    _same(model.predict([X, Y]), expected)
    _same(model.predict({"second": Y, "first": X}), expected)
    dataset = tf.data.Dataset.from_tensor_slices(((X, Y), Y)).batch(70)
    _same(model.predict(dataset), expected)
    with pytest.raises(ValueError, match="The model takes 2 inputs, and 1 are given"):
        model.predict([X])
    with pytest.raises(ValueError, match="different numbers of samples"):
        model.predict([X, Y[:3]])
    with pytest.raises(ValueError, match="has no batch"):
        model.predict(iter(()))


def test_saved_models(plain: Any, target: Accelerator, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    plain.save(path)
    expected = plain.predict(X, verbose=0)
    _same(EIKerasModel(path, accelerator_id=target).predict(X), expected)
    _same(EIKerasModel(str(path), use_ei=False).predict(X), expected)
    with pytest.raises(OSError, match="No such file"):
        EIKerasModel(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="take EIPredictor"):
        EIKerasModel(tmp_path)
    with pytest.raises(TypeError, match="no Keras model"):
        EIKerasModel(7)


def test_a_model_that_is_a_class(target: Accelerator) -> None:
    class Mine(keras.Model):  # type: ignore[misc]  # Keras is untyped
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, inputs: Any, training: bool = False) -> Any:
            return self.dense(inputs) + (1.0 if training else 0.0)

    mine = Mine()
    expected = mine.predict(X, verbose=0)
    _same(EIKerasModel(mine, accelerator_id=target).predict(X), expected)
    with pytest.raises(ValueError, match="does not train"):
        EIKerasModel(mine, accelerator_id=target)(X, training=True)


@pytest.mark.slow
def test_words(target: Accelerator) -> None:
    words = keras.Input((1,), dtype="string")
    numbers = keras.layers.StringLookup(vocabulary=["cat", "dog"])(words)
    flat = keras.layers.Flatten()(keras.layers.Embedding(3, 2)(numbers))
    model = keras.Model(words, keras.layers.Dense(2)(flat))
    given = np.array(["dog", "cow"], object)
    expected = model.predict(tf.constant(given)[:, tf.newaxis], verbose=0)
    _same(EIKerasModel(model, accelerator_id=target).predict(given), expected)


def test_progress_and_callbacks(
    plain: Any, target: Accelerator, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(f"{batch} {logs['outputs'].shape}")

        def on_predict_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras's order
            seen.append("end")

    model = EIKerasModel(plain, accelerator_id=target)
    model.predict(X, batch_size=40)
    assert capsys.readouterr().out == ""
    model.predict(X, batch_size=40, verbose=1, callbacks=[Watcher()])
    assert "/step" in capsys.readouterr().out
    assert seen == ["0 (40, 2)", "1 (30, 2)", "end"]


@pytest.fixture(autouse=True)
def _keras_forgets() -> Iterator[None]:
    yield
    keras.backend.clear_session()
