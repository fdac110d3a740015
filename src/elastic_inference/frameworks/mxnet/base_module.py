"""What modules have in common: predicting over batches, and what training would need."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import creation, metric
from elastic_inference.frameworks.mxnet.errors import (
    assertion_error,
    inference_only,
    value_error,
)
from elastic_inference.frameworks.mxnet.io import DataBatch, DataDesc, DataIter
from elastic_inference.frameworks.mxnet.ndarray import NDArray


class BaseModule:
    """A model that is bound to a context, given its parameters, and then run on batches.

    Attributes:
        binded, params_initialized: how far it is.
        for_training: whether it was bound for training, which it cannot be used for.
    """

    def __init__(self, logger: Any = logging) -> None:
        self.logger = logger
        self.binded = False
        self.params_initialized = False
        self.optimizer_initialized = False
        self.for_training = False
        self.inputs_need_grad = False

    # What modules do in their own ways.

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        del data_batch, is_train
        raise inference_only(f"forward of {type(self).__name__}")

    def get_outputs(self, merge_multi_context: bool = True) -> Any:
        del merge_multi_context
        raise inference_only(f"get_outputs of {type(self).__name__}")

    # Predictions.

    def predict(
        self,
        eval_data: Any,
        num_batch: int | None = None,
        merge_batches: bool = True,
        reset: bool = True,
        always_output_list: bool = False,
        sparse_row_id_fn: Any = None,
    ) -> Any:
        """The outputs for an array, or for all batches of an iterator, without their padding.

        All batches are begun before the first is waited for.

        Raises:
            ValueError: `eval_data` is neither, or batches cannot be merged.
        """
        del sparse_row_id_fn
        self._check_ready()
        if isinstance(eval_data, NDArray | np.ndarray):
            given = eval_data if isinstance(eval_data, NDArray) else creation.array(eval_data)
            self.forward(DataBatch([given]), is_train=False)
            return self.get_outputs()[0].copy()
        if not isinstance(eval_data, DataIter):
            raise value_error("eval_data must be of type NDArray or DataIter")
        batches = [
            (outputs, pad) for outputs, pad, _ in self._outputs(eval_data, num_batch, reset=reset)
        ]
        found = [[_unpadded(each, pad) for each in outputs] for outputs, pad in batches]
        if not found or not merge_batches:
            return found
        if len({len(outputs) for outputs in found}) > 1:
            raise value_error(
                "Cannot merge batches, as num of outputs is not the same in mini-batches. "
                "Maybe bucketing is used?"
            )
        merged = [creation.concatenate(each) for each in zip(*found, strict=True)]
        return merged[0] if len(merged) == 1 and not always_output_list else merged

    def iter_predict(
        self, eval_data: DataIter, num_batch: int | None = None, reset: bool = True
    ) -> Iterator[tuple[list[NDArray], int, DataBatch]]:
        """For each batch its outputs without the padding, its number, and itself."""
        self._check_ready()
        batches = self._outputs(eval_data, num_batch, reset=reset)
        for number, (outputs, pad, batch) in enumerate(batches):
            yield [_unpadded(each, pad) for each in outputs], number, batch

    def _outputs(
        self, eval_data: DataIter, num_batch: int | None, *, reset: bool
    ) -> Iterator[tuple[list[NDArray], int, DataBatch]]:
        if reset:
            eval_data.reset()
        for number, batch in enumerate(eval_data):
            if num_batch is not None and number == num_batch:
                return
            self.forward(batch, is_train=False)
            # The next batch takes the same arrays.
            yield [each.copy() for each in self.get_outputs()], batch.pad or 0, batch

    def score(
        self, eval_data: DataIter, eval_metric: Any, num_batch: int | None = None, **_further: Any
    ) -> list[tuple[str, float]]:
        """What a metric with `update(labels, predictions)`, or one of `mx.metric` by its name, says
        of the outputs.
        """
        self._check_ready()
        measured = metric.create(eval_metric) if _is_named(eval_metric) else eval_metric
        measured.reset()
        for outputs, pad, batch in self._outputs(eval_data, num_batch, reset=True):
            labels = [_unpadded(each, pad) for each in batch.label]
            measured.update(labels, [_unpadded(each, pad) for each in outputs])
        found: list[tuple[str, float]] = list(measured.get_name_value())
        return found

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        """Take the last batch into a metric."""
        del pre_sliced
        eval_metric.update(labels, self.get_outputs())

    def _check_ready(self) -> None:
        if not (self.binded and self.params_initialized):
            raise assertion_error("the module has to be bound and given its parameters first")

    # What training needs.

    def backward(self, out_grads: Any = None) -> None:
        """Refused, as all of training.

        Raises:
            MXNetError: always.
        """
        del out_grads
        raise inference_only("backward")

    def update(self) -> None:
        raise inference_only("update")

    def fit(self, *_arguments: Any, **_keywords: Any) -> None:
        raise inference_only("fit")

    def init_optimizer(self, *_arguments: Any, **_keywords: Any) -> None:
        raise inference_only("init_optimizer")

    def get_input_grads(self, merge_multi_context: bool = True) -> None:
        del merge_multi_context
        raise inference_only("get_input_grads")

    def forward_backward(self, data_batch: Any) -> None:
        del data_batch
        raise inference_only("forward_backward")

    def install_monitor(self, mon: Any) -> None:
        del mon
        raise inference_only("install_monitor")

    def prepare(self, data_batch: Any, sparse_row_id_fn: Any = None) -> None:
        """Nothing has to be done before a batch."""


def described(shapes: Any) -> list[DataDesc] | None:
    """The inputs that `data_shapes` or `label_shapes` describe."""
    if shapes is None:
        return None
    return [each if isinstance(each, DataDesc) else DataDesc(*each) for each in shapes]


def check_names(
    arguments: Sequence[str], names: Sequence[str], what: str, *, throw: bool, logger: Any
) -> None:
    """Say which of the names are no arguments of the symbol, and what could be meant."""
    for name in names:
        if name in arguments:
            continue
        possible = "\n\t".join(
            each for each in arguments if not each.endswith(("_weight", "_bias", "_gamma", "_beta"))
        )
        message = (
            f"You created Module with Module(..., {what}_names={list(names)}) but input with name "
            f"'{name}' is not found in symbol.list_arguments(). Did you mean one of:\n\t{possible}"
        )
        if throw:
            raise value_error(message)
        logger.warning(message)


def _is_named(given: Any) -> bool:
    return isinstance(given, str | list | tuple)


def _unpadded(output: NDArray, pad: int) -> NDArray:
    return output[0 : output.shape[0] - pad] if pad else output


Arrays = Mapping[str, NDArray]
