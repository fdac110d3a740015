"""How right predictions are: what `Module.score` is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.errors import value_error
from elastic_inference.frameworks.mxnet.ndarray import NDArray
from elastic_inference.protocol.tensors import Array


class EvalMetric:
    """A sum over instances, and their number.

    Attributes:
        name: what the result is called.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.sum_metric = 0.0
        self.num_inst = 0

    def reset(self) -> None:
        self.sum_metric, self.num_inst = 0.0, 0

    def update(self, labels: Any, preds: Any) -> None:
        """Take a batch in: arrays, or lists of them for several outputs."""
        for label, prediction in zip(_listed(labels), _listed(preds), strict=False):
            self.add(_plain(label), _plain(prediction))

    def add(self, label: Array, prediction: Array) -> None:
        raise value_error(
            f"{type(self).__name__} says nothing of {label.shape}, {prediction.shape}"
        )

    def get(self) -> tuple[str, float]:
        return self.name, self.sum_metric / self.num_inst if self.num_inst else float("nan")

    def get_name_value(self) -> list[tuple[str, float]]:
        return [self.get()]


class Accuracy(EvalMetric):
    """How often the likeliest class is the right one."""

    def __init__(self, axis: int = 1, name: str = "accuracy", **_further: Any) -> None:
        super().__init__(name)
        self.axis = axis

    def add(self, label: Array, prediction: Array) -> None:
        if prediction.shape != label.shape:
            prediction = prediction.argmax(self.axis)
        self.sum_metric += float((prediction.astype(int) == label.astype(int)).sum())
        self.num_inst += label.size


class TopKAccuracy(EvalMetric):
    """How often the right class is among the `top_k` likeliest."""

    def __init__(self, top_k: int = 1, name: str = "top_k_accuracy", **_further: Any) -> None:
        super().__init__(f"{name}_{top_k}")
        self.top_k = top_k

    def add(self, label: Array, prediction: Array) -> None:
        best = np.argsort(prediction.astype(np.float32), axis=1)[:, -self.top_k :]
        self.sum_metric += float((best == label.astype(int).reshape(-1, 1)).any(axis=1).sum())
        self.num_inst += label.size


class CompositeEvalMetric(EvalMetric):
    """Several at once."""

    def __init__(self, metrics: Sequence[Any] = (), name: str = "composite") -> None:
        super().__init__(name)
        self.metrics = [create(each) for each in metrics]

    def reset(self) -> None:
        for each in getattr(self, "metrics", ()):
            each.reset()

    def update(self, labels: Any, preds: Any) -> None:
        for each in self.metrics:
            each.update(labels, preds)

    def get_name_value(self) -> list[tuple[str, float]]:
        return [pair for each in self.metrics for pair in each.get_name_value()]


def create(metric: Any, **keywords: Any) -> EvalMetric:
    """A metric, by its name (`acc`, `top_k_accuracy`), from a list, or as it is.

    Raises:
        ValueError: there is no such metric.
    """
    if isinstance(metric, EvalMetric):
        return metric
    if isinstance(metric, list | tuple):
        return CompositeEvalMetric(metric)
    known: dict[str, type[EvalMetric]] = {
        "acc": Accuracy,
        "accuracy": Accuracy,
        "top_k_acc": TopKAccuracy,
        "top_k_accuracy": TopKAccuracy,
    }
    if metric not in known:
        raise value_error(f"There is no metric {metric!r}; there are {', '.join(known)}")
    return known[metric](**keywords)


def _listed(given: Any) -> list[Any]:
    if isinstance(given, dict):
        return list(given.values())
    return list(given) if isinstance(given, list | tuple) else [given]


def _plain(given: Any) -> Array:
    return given.array if isinstance(given, NDArray) else np.asarray(given)
