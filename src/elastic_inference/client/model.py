"""A model on an accelerator."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from elastic_inference.client.connection import Connection
from elastic_inference.client.link import Link
from elastic_inference.client.plan import Planner
from elastic_inference.client.shared_memory import SHARED, allocate
from elastic_inference.client.source import ModelFiles
from elastic_inference.client.upload import upload
from elastic_inference.errors import InternalError, NotFoundError, UnavailableError
from elastic_inference.protocol.tensors import Array, TensorSpec, Value

if TYPE_CHECKING:
    from elastic_inference.client.profile import Profile

_MODELS = "/v2/elastic-inference/models"


class Model:
    """A loaded model. `run` may be called from many threads.

    Attributes:
        handle: identifies content and options; the model's name on the accelerator.
        inputs, outputs: what it takes and gives.
        metadata: the ONNX model's own (`producer_name`, `graph_name`, `custom`, …).
        providers: what runs it, e.g. `("CPUExecutionProvider",)`.
        source: where the accelerator took it from: `shared`, `cache`, `prepared` or `direct`.
    """

    def __init__(self, link: Link, files: ModelFiles, options: Mapping[str, Any]) -> None:
        self._link = link
        self._files = files
        self._options = dict(options)
        self._reload_lock = threading.Lock()
        self._closed = False
        answer = self._load()
        try:
            self.handle = str(answer["name"])
            self.inputs = tuple(TensorSpec.from_dict(entry) for entry in answer["inputs"])
            self.outputs = tuple(TensorSpec.from_dict(entry) for entry in answer["outputs"])
            self.metadata: Mapping[str, Any] = dict(answer.get("metadata", {}))
            self.providers = tuple(str(name) for name in answer.get("providers", ()))
            self.source = str(answer.get("source", ""))
        except (KeyError, TypeError, ValueError) as error:
            raise InternalError(
                f"The accelerator's answer to a load is malformed: {error!r}."
            ) from (error)
        link.hold(self.handle)
        self._planner = Planner(self.handle, self.inputs, self.outputs)
        self._finalizer = weakref.finalize(self, _release_later, link, self.handle)
        self._finalizer.atexit = False

    def run(self, feeds: Mapping[str, Value], outputs: Iterable[str] | None = None) -> list[Value]:
        """One inference.

        Args:
            feeds: a value for each input. Numeric tensors are numpy arrays in the carrier dtype
                of their datatype (see `protocol.tensors`), strings arrays of str or bytes,
                sub-byte types `Packed`, sequences lists, absent optionals None, maps dicts.
            outputs: names of the outputs to compute; all if None.

        Returns:
            The values of `outputs` in that order, in memory of the caller's own. Strings come
            as object arrays of bytes.

        Raises:
            InvalidRequestError: names, dtypes or shapes do not fit the model.
            AcceleratorOutOfMemoryError: the call would pass the accelerator's memory.
            DeadlineExceededError: it took longer than EI_TIMEOUT.
            AcceleratorLostError: the accelerator went away and did not come back in time.
            ElasticInferenceError: any other failure.
        """
        link = self._link
        if outputs is not None:
            outputs = tuple(outputs)
        began = time.perf_counter_ns()
        connection: Connection | None = None
        try:
            try:
                connection = link.idle.pop()
            except IndexError:
                connection = link.take()
            connection.deadline = began + link.timeout_ns
            values = connection.infer(self._planner, feeds, outputs)
        except Exception as error:  # noqa: BLE001 - sorted out in one place
            return self._run_again(connection, error, feeds, outputs, began)
        except BaseException:
            if connection is not None:
                link.drop(connection)
            raise
        connection.calls += 1
        connection.wall_ns += time.perf_counter_ns() - began
        link.give_back(connection)
        return values

    def _run_again(
        self,
        connection: Connection | None,
        error: Exception,
        feeds: Mapping[str, Value],
        outputs: tuple[str, ...] | None,
        began: int,
    ) -> list[Value]:
        if self._closed:
            if connection is not None:
                self._link.drop(connection)
            raise UnavailableError("The model was closed by this process.") from error

        def work(another: Connection) -> list[Value]:
            values = another.infer(self._planner, feeds, outputs)
            another.calls += 1
            another.wall_ns += time.perf_counter_ns() - began
            return values

        return self._link.call(work, reload=self._reload, failure=(connection, error))

    def empty(self, name: str, shape: Sequence[int] | None = None, dtype: Any = None) -> Array:
        """An uninitialised array for input `name` that `run` passes without a copy, if it can.

        On the accelerator's host it lies in shared memory; elsewhere it is an ordinary array.

        Args:
            shape: the input's own if None, which then must have no dynamic dimension.
            dtype: the carrier of the input's datatype if None.

        Raises:
            NotFoundError: the model has no such input.
            InvalidRequestError: the shape or dtype has to be given.
        """
        from elastic_inference.client.shapes import shape_and_dtype  # noqa: PLC0415 - rarely used

        for spec in self.inputs:
            if spec.name == name:
                full, kind = shape_and_dtype(spec, shape, dtype)
                return empty(self._link, full, kind)
        raise NotFoundError(f"The model has no input {name!r}.")

    def profile(self, feeds: Mapping[str, Value], runs: int = 20) -> Profile:
        """Measure where the time of a call with `feeds` goes.

        The usual calls are measured as they are. Then the accelerator loads the model once
        more and records each operator; other calls go on meanwhile.

        Args:
            feeds: as for `run`.
            runs: how many calls of each kind, 1 to 1000.

        Raises:
            LimitExceededError: another profile is being made there.
            AcceleratorOutOfMemoryError: the model does not fit beside itself.
            what `run` does.
        """
        from elastic_inference.client.profile import profile  # noqa: PLC0415 - rarely used

        return profile(self._link, self._planner, self.run, feeds, runs)

    def close(self) -> None:
        """End this process's use of the model. The accelerator drops it with its last user."""
        if not self._closed:
            self._closed = True
            self._finalizer.detach()
            self._link.release(self.handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(spec.name for spec in self.inputs)
        return f"<Model {self.handle[:12]} ({names}) on {self._link.accelerator_id}>"

    def _load(self) -> dict[str, Any]:
        request = {
            "files": {name: blob.sha256 for name, blob in self._files.files.items()},
            "main": self._files.main,
            "options": self._options,
        }
        timeout = self._link.settings.load_timeout
        try:
            answer = self._link.request("POST", _MODELS, request, timeout=timeout)
        except NotFoundError:
            upload(self._link, self._files)
            answer = self._link.request("POST", _MODELS, request, timeout=timeout)
        if not isinstance(answer, dict):
            raise InternalError("The accelerator's answer to a load is malformed.")
        return answer

    def _reload(self) -> None:
        """Bring the model back to an accelerator that does not know it."""
        with self._reload_lock:
            if self._closed:
                raise UnavailableError("The model was closed by this process.")
            self._load()


def empty(link: Link, shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised array: in shared memory if `link` uses it and the array is not small."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if size >= SHARED and not kind.hasobject and link.shares_memory:
        return allocate(shape, kind)
    return np.empty(shape, kind)


def _release_later(link: Link, handle: str) -> None:
    link.later(partial(link.release, handle))
