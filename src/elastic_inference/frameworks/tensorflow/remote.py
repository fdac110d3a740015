"""A model on the accelerator, with what of it must run on the instance."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from elastic_inference.client import Accelerator
from elastic_inference.errors import (
    ElasticInferenceError,
    ModelFormatError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.frameworks.tensorflow import placeholders
from elastic_inference.frameworks.tensorflow.execution import Execution
from elastic_inference.frameworks.tensorflow.failures import refused, translate
from elastic_inference.frameworks.tensorflow.feeds import Feeds, in_words
from elastic_inference.frameworks.tensorflow.plan import ACCELERATOR, Tensor
from elastic_inference.frameworks.tensorflow.prepare import prepare
from elastic_inference.frameworks.tensorflow.results import finish
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.protocol.tensorflow import carrier_of
from elastic_inference.protocol.tensors import Array

# What TensorFlow raises besides for a model that cannot be loaded, or lacks a tensor.
_ALSO = ((NotFoundError, KeyError), (ModelFormatError, OSError))


class TensorInfo:
    """A tensor of a model that no graph of this process has.

    Attributes:
        name: e.g. `image_tensor:0`.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self.name = tensor.name

    @property
    def dtype(self) -> Any:
        """As TensorFlow's own, where it is imported; else as numpy's."""
        name = self._tensor.dtype
        make = _of_tensorflow("as_dtype")
        return carrier_of(name) if make is None else make(name)

    @property
    def shape(self) -> Any:
        """As TensorFlow's own, where it is imported; else a tuple, or None for any rank."""
        shape = self._tensor.shape
        make = _of_tensorflow("TensorShape")
        return shape if make is None else make(shape)

    def __repr__(self) -> str:
        described = f"shape={in_words(self._tensor.shape)} dtype={self._tensor.dtype}"
        return f"<Tensor {self.name!r} {described}>"


class Remote:
    """A prepared model, loaded. `run` may be called by many threads.

    Attributes:
        feed_tensors, fetch_tensors: what describes its tensors, by key.
    """

    is_remote = True

    def __init__(self, source: Source, accelerator: Accelerator, config: bytes = b"") -> None:
        """Prepare the model, if that was not done before, and load it.

        Raises:
            UnavailableError: the accelerator is lost.
            ElasticInferenceError: the model cannot be run; as `failures` makes it.
        """
        self._source = source
        self._accelerator = accelerator
        self._config = config
        self._lock = threading.Lock()
        # Some inputs may be left out. The keys of each such set have a plan of their own.
        self._without: dict[frozenset[str], Execution] = {}
        self._execution = self._load(source)
        plan = self._execution.plan
        self.plan = plan
        if not any(segment.place == ACCELERATOR for segment in plan.segments):
            warnings.warn(
                "Nothing of this model runs on the accelerator; explain() says why.",
                RuntimeWarning,
                stacklevel=4,
            )
        self._inputs = frozenset(plan.inputs)
        self._used = {tensor.name for segment in plan.segments for tensor in segment.inputs}
        self._used.update(tensor.name for tensor in plan.outputs.values())
        self._feeds = Feeds(plan.inputs)
        self.feed_tensors = _described(plan.inputs)
        self.fetch_tensors = _described(plan.outputs)

    def _load(self, source: Source) -> Execution:
        try:
            (plan,) = prepare([source])
            return Execution(plan, self._accelerator, config=self._config)
        except UnavailableError:
            raise
        except ElasticInferenceError as error:
            also = (cls for ours, cls in _ALSO if isinstance(error, ours))
            raise translate(error, *also) from error

    def run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all outputs, by key.

        Raises:
            UnavailableError: the accelerator is lost.
            ElasticInferenceError: any other failure; as `failures` makes it.
        """
        feeds = self._feeds.arrays(given)
        execution = self._execution
        if len(feeds) != len(self._inputs):
            execution = self._for(feeds)
        try:
            return finish(execution.run(feeds))
        except UnavailableError:
            raise
        except ElasticInferenceError as error:
            raise translate(error) from error

    def _for(self, feeds: Mapping[str, Array]) -> Execution:
        """What runs without the inputs that are not in `feeds`."""
        missing = self._inputs.difference(feeds)
        if not any(self.plan.inputs[key].name in self._used for key in missing):
            return self._execution
        with self._lock:
            if missing not in self._without:
                self._without[missing] = self._load_without(missing)
            return self._without[missing]

    def _load_without(self, missing: frozenset[str]) -> Execution:
        inputs, outputs = self.plan.inputs, self.plan.outputs
        free = placeholders.with_default(self._source.path)
        needed = [key for key in inputs if key in missing and inputs[key].name not in free]
        if needed:
            tensor = inputs[needed[0]]
            raise refused(
                f"You must feed a value for placeholder tensor {tensor.name!r} with dtype "
                f"{tensor.dtype} and shape {in_words(tensor.shape)}: the key {needed[0]!r} is "
                "missing.",
                next_step=f"The model takes: {', '.join(inputs)}.",
            )
        source = replace(
            self._source,
            signature="",
            inputs={key: each.name for key, each in inputs.items() if key not in missing},
            outputs={key: each.name for key, each in outputs.items()},
        )
        return self._load(source)

    def explain(self) -> str:
        from elastic_inference.frameworks.tensorflow.explain import (  # noqa: PLC0415 - rarely used
            explain,
        )

        return explain(self.plan)

    def close(self) -> None:
        for execution in (self._execution, *self._without.values()):
            execution.close()


def _of_tensorflow(name: str) -> Any:
    """What TensorFlow has under that name, if this process has imported it; else None."""
    return getattr(sys.modules.get("tensorflow"), name, None)


def _described(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {key: TensorInfo(tensor) for key, tensor in tensors.items()}
