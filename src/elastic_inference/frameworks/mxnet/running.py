"""Bring a graph to where its context says, and run it there."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from elastic_inference.client import Accelerator
from elastic_inference.errors import ElasticInferenceError, NotFoundError, UnavailableError
from elastic_inference.frameworks import attach
from elastic_inference.frameworks.mxnet import log, planning
from elastic_inference.frameworks.mxnet.context import Context
from elastic_inference.frameworks.mxnet.errors import no_accelerator, translate
from elastic_inference.frameworks.mxnet.graph import Graph
from elastic_inference.frameworks.mxnet.ndarray import NDArray
from elastic_inference.frameworks.mxnet.planning import Plan
from elastic_inference.frameworks.mxnet.storage import Chunk
from elastic_inference.frameworks.mxnet.translate import OnnxSegment
from elastic_inference.protocol.tensors import Array

# A weight that is changed as often as this is taken for an input.
_CHANGES = 2


class _Part(Protocol):
    """A loaded segment."""

    def run(self, feeds: Mapping[str, Any], outputs: Any = None) -> list[Any]: ...

    def close(self) -> None: ...


class Source:
    """A graph, and the arrays that it is bound to.

    Attributes:
        inputs: the names that each call brings; all others become constants of the model.
    """

    def __init__(
        self,
        graph: Graph,
        context: Context,
        arrays: Mapping[str, NDArray],
        inputs: frozenset[str],
    ) -> None:
        self.inputs = inputs
        self._graph = graph
        self._context = context
        self._arrays = arrays
        self._accelerator = attached(context)
        self._model: Model | None = None
        self._versions: list[int] = []
        self._weights: list[str] = []
        self._chunks: list[Chunk] = []
        self._changes: Counter[str] = Counter()

    def check(self) -> None:
        """Say now what cannot be run.

        Raises:
            MXNetError: it names the operator and the node.
        """
        planning.check(self._graph)

    def prepare(self) -> None:
        """Translate now; errors as `check`, and what else translation finds."""
        self.check()
        self.current()

    def feed(self, name: str) -> None:
        """This argument comes with calls."""
        if name not in self.inputs:
            self.inputs |= {name}
            self.close()

    def current(self) -> Model:
        """The model with the weights as they are now."""
        model = self._model
        if model is not None and [each.version for each in self._chunks] == self._versions:
            return model
        if model is not None:
            self._note_changes(model)
            self.close()
        self._weights = [name for name in self._arrays if name not in self.inputs]
        self._chunks = [self._arrays[name].chunk for name in self._weights]
        self._versions = [each.version for each in self._chunks]
        self._model = Model(self._plan(), self._accelerator, again=self._plan)
        return self._model

    def _note_changes(self, model: Model) -> None:
        # A model that was never loaded cost nothing.
        if model.is_loaded:
            changed = [
                name
                for name, chunk, old in zip(
                    self._weights, self._chunks, self._versions, strict=True
                )
                if chunk.version != old
            ]
            self._changes.update(changed)
            often = [name for name in changed if self._changes[name] >= _CHANGES]
            self.inputs |= frozenset(often)

    def _plan(self) -> Plan:
        params = {
            name: each.array for name, each in self._arrays.items() if name not in self.inputs
        }
        inputs = {
            name: (self._arrays[name].shape, np.dtype(self._arrays[name].dtype))
            for name in self.inputs
        }
        return planning.plan(self._graph, params, inputs)

    def close(self) -> None:
        """Free the loaded model; `current` makes another."""
        model, self._model = self._model, None
        if model is not None:
            model.close()


class Model:
    """A plan; it is loaded when it is first run. `run` may be called from many threads.

    Attributes:
        inputs: the names of the arrays that it takes.
    """

    def __init__(
        self,
        plan: Plan,
        accelerator: Accelerator | None,
        *,
        again: Callable[[], Plan] | None = None,
    ) -> None:
        self.inputs = tuple(tensor.name for tensor in plan.inputs)
        self._plan = plan
        self._accelerator = accelerator
        self._again = again
        self._lock = threading.Lock()
        self._parts: list[tuple[Any, _Part]] | None = None
        self._stack = ExitStack()
        self._running = 0
        self._closed = False

    @property
    def is_loaded(self) -> bool:
        return self._parts is not None

    def run(self, feeds: Mapping[str, Any]) -> list[Array]:
        """The outputs, read-only.

        Args:
            feeds: by the names of `inputs`: arrays, or what gives one when it is waited for.

        Raises:
            MXNetError: as MXNet with Elastic Inference reports a failure of the accelerator.
        """
        values = {
            name: each if isinstance(each, np.ndarray) else each.result()
            for name, each in feeds.items()
        }
        try:
            return self._run(values)
        except UnavailableError as error:
            if self._accelerator is None or not attach.goes_on_locally():
                raise _reported(error) from error
            self._go_on_locally(error)
            return self._run(values)
        except ElasticInferenceError as error:
            raise _reported(error) from error

    def _run(self, values: dict[str, Array]) -> list[Array]:
        parts = self._begin()
        try:
            known = {**self._plan.constants, **values}
            for segment, part in parts:
                wanted = [each.name for each in segment.outputs]
                results = part.run({each.name: known[each.name] for each in segment.inputs}, wanted)
                known.update(zip(wanted, results, strict=True))
            return [_read_only(known[each.name]) for each in self._plan.outputs]
        finally:
            self._end()

    def _begin(self) -> list[tuple[Any, _Part]]:
        with self._lock:
            if self._parts is None:
                if self._again is not None and not _files_are_there(self._plan):
                    # The weights are in memory all the same.
                    self._plan = self._again()
                with ExitStack() as undo:
                    parts = []
                    for segment in self._plan.segments:
                        part = _load(segment, self._accelerator)
                        undo.callback(part.close)
                        parts.append((segment, part))
                    self._stack = undo.pop_all()
                self._parts = parts
            self._running += 1
            return self._parts

    def _end(self) -> None:
        with self._lock:
            self._running -= 1
            self._free()

    def _free(self) -> None:
        if self._closed and not self._running:
            self._parts = None
            self._stack.close()

    def close(self) -> None:
        """Free it when the calls that are under way have ended."""
        with self._lock:
            self._closed = True
            self._free()

    def _go_on_locally(self, error: ElasticInferenceError) -> None:
        with self._lock:
            if self._accelerator is None:
                return
            log.show_text(
                f"The accelerator is lost ({error.message}); this model goes on with the local "
                "ONNX Runtime, as EI_ON_LOSS=local says."
            )
            self._accelerator = None
            self._parts = None
            self._stack.close()


def attached(context: Context) -> Accelerator | None:
    """The accelerator that the context means; None for the instance.

    Raises:
        NoAcceleratorError: none is attached to this process, or not that one.
    """
    if context.device_type != "eia":
        return None
    try:
        found = attach.accelerator(context.device_id)
    except (NotFoundError, UnavailableError) as error:
        raise no_accelerator(error) from error
    if found is None:
        raise no_accelerator(NotFoundError("EI_VISIBLE_DEVICES hides all accelerators."))
    return found


def _load(segment: Any, accelerator: Accelerator | None) -> _Part:
    if not isinstance(segment, OnnxSegment):
        return _Here(segment.run)
    if accelerator is not None:
        return accelerator.load(segment.files)
    from elastic_inference.frameworks.mxnet.local import LocalModel  # noqa: PLC0415 - loads ORT

    return LocalModel(segment.files)


def _files_are_there(plan: Plan) -> bool:
    """Whether the files in which weights lie have not been removed since."""
    return all(
        Path(content).exists()
        for segment in plan.segments
        if isinstance(segment, OnnxSegment)
        for content in segment.files.values()
        if isinstance(content, str)
    )


class _Here:
    """A segment that this process computes with numpy."""

    def __init__(self, function: Callable[[Mapping[str, Array]], dict[str, Array]]) -> None:
        self._function = function

    def run(self, feeds: Mapping[str, Any], outputs: Any = None) -> list[Any]:
        found = self._function(feeds)
        return [found[name] for name in outputs]

    def close(self) -> None:
        """There is nothing to free."""


def _read_only(array: Array) -> Array:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _reported(error: ElasticInferenceError) -> ElasticInferenceError:
    found = translate(error)
    log.failed(str(found).partition(": ")[2] or str(found))
    return found
