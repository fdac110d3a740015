"""`EIKerasModel`: a Keras model whose predictions are made on the accelerator."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.frameworks.tensorflow.failures import no_file, refused
from elastic_inference.frameworks.tensorflow.feeds import plain
from elastic_inference.frameworks.tensorflow.functions import accelerate
from elastic_inference.frameworks.tensorflow.local import import_tensorflow

_BATCH = 32
_FORMATS = (".keras", ".h5", ".hdf5")


class EIKerasModel:
    """A Keras model on the accelerator, with Keras's `predict`.

    Attributes:
        model: the Keras model. Its weights are taken when this is made.
    """

    def __init__(self, model: Any, *, accelerator_id: Any = None, use_ei: bool = True) -> None:
        """
        Args:
            model: a Keras model, or the path of one saved as `.keras` or `.h5`.
            accelerator_id: its ordinal or id; the first if None.
            use_ei: False leaves predictions to Keras.

        Raises:
            ElasticInferenceError: a ValueError or OSError too: there is no such model; or as an
                EIPredictor raises.
        """
        self.model = _loaded(model) if isinstance(model, str | bytes | os.PathLike) else model
        if not isinstance(self.model, import_tensorflow().keras.Model):
            raise refused(f"A {type(model).__name__} is no Keras model.", TypeError)
        self._run = accelerate(self.model, accelerator_id=accelerator_id) if use_ei else None

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The model's outputs for `x`, as numpy arrays in the model's own structure.

        Args:
            x: arrays or tensors in the structure of the model's inputs, or batches of them: a
                tf.data.Dataset, a keras.utils.PyDataset, a generator. Of batches that are tuples
                the first item is taken.
            batch_size: how many samples of arrays go at once; 32 if None.
            verbose: as Keras's; with 0, the default of TensorFlow 1, nothing is printed.
            steps: how many batches; all if None.
            callbacks: as Keras's.

        Raises:
            ElasticInferenceError: a ValueError too: `x` does not fit the model, or is empty.
        """
        if self._run is None:
            return self.model.predict(
                x, batch_size=batch_size, verbose=verbose, steps=steps, callbacks=callbacks
            )
        tf = import_tensorflow()
        watching = _callbacks(tf, self.model, callbacks, verbose, steps)
        watching.on_predict_begin()
        found = []
        for number, batch in enumerate(islice(_batches(tf, x, batch_size), steps)):
            watching.on_predict_batch_begin(number)
            found.append(self.predict_on_batch(batch))
            watching.on_predict_batch_end(number, {"outputs": found[-1]})
        watching.on_predict_end()
        if not found:
            raise refused("There is nothing to predict: the data has no batch.")
        return tf.nest.map_structure(lambda *parts: _joined(tf, parts), *found)

    def predict_on_batch(self, x: Any) -> Any:
        """The model's outputs for one batch, as numpy arrays."""
        if self._run is None:
            return self.model.predict_on_batch(x)
        return self._run.arrays(self._arranged(x))

    def __call__(self, inputs: Any, training: bool | None = None) -> Any:
        """The model's outputs for one batch, as tensors."""
        if training:
            raise refused("An accelerator does not train: training is True.")
        if self._run is None:
            return self.model(inputs)
        return self._run(self._arranged(inputs))

    def explain(self) -> str:
        """Which parts of the model run where, and why."""
        if self._run is None:
            return "The whole model runs in this process's own TensorFlow."
        return self._run.explain()

    def close(self) -> None:
        """Give up the model on the accelerator. A later prediction loads it again."""
        if self._run is not None:
            self._run.close()

    def _arranged(self, x: Any) -> Any:
        """`x` as the model is called: Keras takes a dict by names for a list, and a list for a
        dict, and of a trailing size of 1 it takes more or less.
        """
        expected = getattr(self.model, "inputs", None)
        if not expected:
            return x
        tf = import_tensorflow()
        structure = getattr(self.model, "input", None)
        structure = expected if structure is None else structure
        flat = _in_order(tf, x, expected)
        if len(flat) != len(expected):
            raise refused(
                f"The model takes {len(expected)} inputs, and {len(flat)} are given.",
                next_step=f"They are: {', '.join(tensor.name for tensor in expected)}.",
            )
        fitting = [
            _of_rank(value, len(each.shape)) for value, each in zip(flat, expected, strict=True)
        ]
        if len(expected) == 1 and isinstance(structure, list | tuple):
            return fitting[0]
        return tf.nest.pack_sequence_as(structure, fitting)


def _loaded(path: Any) -> Any:
    file = Path(os.fsdecode(path))
    if file.is_dir():
        raise refused(
            f"{file} is a folder, not a Keras model's file.",
            next_step="For a SavedModel take EIPredictor.",
        )
    if not file.is_file():
        raise no_file(file)
    if file.suffix not in _FORMATS:
        raise refused(f"{file} is not named as a Keras model: {', '.join(_FORMATS)}.")
    return import_tensorflow().keras.models.load_model(file, compile=False)


def _in_order(tf: Any, x: Any, expected: Sequence[Any]) -> list[Any]:
    if isinstance(x, Mapping):
        names = [tensor.name for tensor in expected]
        if set(names) <= set(x):
            return [x[name] for name in names]
    # A list of numbers is one input: the model says how many there are.
    if len(expected) == 1 and isinstance(x, list | tuple) and len(x) != 1:
        return [np.asarray(x)]
    flat: list[Any] = tf.nest.flatten(x)
    return flat


def _of_rank(value: Any, rank: int) -> Any:
    shape = np.shape(value)
    if len(shape) == rank - 1:
        return np.expand_dims(plain(value), -1)
    if len(shape) == rank + 1 and shape[-1] == 1:
        return np.squeeze(plain(value), -1)
    return value


def _batches(tf: Any, x: Any, batch_size: int | None) -> Iterator[Any]:
    if isinstance(x, tf.keras.utils.PyDataset):
        return (_first(x[number]) for number in range(len(x)))
    if isinstance(x, tf.data.Dataset) or (
        isinstance(x, Iterable) and not hasattr(x, "shape") and hasattr(x, "__next__")
    ):
        return (_first(batch) for batch in x)
    return _slices(tf, x, batch_size or _BATCH)


def _first(batch: Any) -> Any:
    """The inputs in (inputs,), (inputs, targets) or (inputs, targets, weights)."""
    return batch[0] if isinstance(batch, tuple) else batch


def _slices(tf: Any, x: Any, size: int) -> Iterator[Any]:
    if isinstance(x, list | tuple) and not any(hasattr(each, "shape") for each in x):
        x = np.asarray(x)
    counts = {len(leaf) for leaf in tf.nest.flatten(x)}
    if len(counts) != 1:
        raise refused(f"The inputs have different numbers of samples: {sorted(counts)}.")
    for begin in range(0, counts.pop(), size):
        end = begin + size
        yield tf.nest.map_structure(lambda leaf, begin=begin, end=end: leaf[begin:end], x)


def _joined(tf: Any, parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else tf.concat(parts, 0)


def _callbacks(tf: Any, model: Any, callbacks: Any, verbose: Any, steps: int | None) -> Any:
    if isinstance(callbacks, tf.keras.callbacks.CallbackList):
        return callbacks
    return tf.keras.callbacks.CallbackList(
        callbacks,
        add_progbar=verbose != 0,
        model=model,
        verbose=1 if verbose == "auto" else verbose,
        epochs=1,
        steps=steps,
    )
