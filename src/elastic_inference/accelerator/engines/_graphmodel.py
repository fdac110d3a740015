"""A model loaded by TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from elastic_inference.accelerator.engines._interface import Interface, Port
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    DeadlineExceededError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
)
from elastic_inference.protocol.tensorflow import carrier_of, reason_of
from elastic_inference.protocol.tensors import Array, Value

PROVIDER = "TensorFlow"
# As of ONNX Runtime's errors.
LONGEST_REASON = 600
_REQUEST_ERRORS = (
    "InvalidArgumentError", "NotFoundError", "OutOfRangeError", "FailedPreconditionError",
    "UnimplementedError", "AlreadyExistsError",
)  # fmt: skip
# Each set of outputs that is asked for has a callable of its own, and that its own weights.
_MOST_CALLABLES = 16


class TensorFlowModel:
    """A graph in a session. See `engines.base.LoadedModel`.

    Raises:
        tensorflow.errors.OpError: the session does not take the interface.
    """

    unfinished = False
    mapped_bytes = 0
    source = "direct"
    providers: tuple[str, ...] = (PROVIDER,)

    def __init__(self, tf: Any, session: Any, interface: Interface) -> None:
        self.inputs = tuple(port.spec for port in interface.inputs)
        self.outputs = tuple(port.spec for port in interface.outputs)
        self.metadata: Mapping[str, Any] = {"producer_name": f"tensorflow {tf.__version__}"}
        self._tf = tf
        self._session: Any = session
        self._inputs = interface.inputs
        self._outputs = {port.spec.name: port for port in interface.outputs}
        self._callables: dict[tuple[str, ...], Callable[..., list[Any]]] = {}
        self._lock = threading.Lock()
        self._usual = tuple(self._outputs)
        if self._usual:
            self._make_callable(self._usual)

    def run(
        self, feeds: Mapping[str, Value], outputs: Sequence[str] | None = None
    ) -> Sequence[Value]:
        wanted = tuple(outputs or self._outputs)
        given = self._given(feeds)
        try:
            call = self._callables.get(wanted) or self._callable(wanted)
            results = call(*given)
        except (ElasticInferenceError, self._tf.errors.OpError, *_REFUSALS) as error:
            raise run_error(error, self._tf) from error
        return [
            _own(result, self._outputs[name], given)
            for name, result in zip(wanted, results, strict=True)
        ]

    def trim(self) -> None:
        """Give up what calls for some of the outputs only keep."""
        with self._lock:
            self._keep_usual()

    def finish(self) -> None:
        """Nothing is left to be done after a load."""

    def skip(self) -> None:
        """As `finish`."""

    def close(self) -> None:
        with self._lock:
            self._callables = {}
            session, self._session = self._session, None
        if session is not None:
            session.close()

    @property
    def closed(self) -> bool:
        """Whether the session is gone."""
        return self._session is None

    def _callable(self, wanted: tuple[str, ...]) -> Callable[..., list[Any]]:
        for name in wanted:
            if name not in self._outputs:
                raise InvalidRequestError(
                    f"The model has no output {name[:200]!r}.",
                    next_step=f"Its outputs are: {', '.join(list(self._outputs)[:20])}.",
                )
        with self._lock:
            if self._session is None:
                raise InvalidRequestError("The model was unloaded.")
            if len(self._callables) >= _MOST_CALLABLES:
                self._keep_usual()
            return self._make_callable(wanted)

    def _keep_usual(self) -> None:
        usual = self._callables.get(self._usual)
        self._callables = {} if usual is None else {self._usual: usual}

    def _make_callable(self, wanted: tuple[str, ...]) -> Callable[..., list[Any]]:
        from tensorflow.core.protobuf import config_pb2  # noqa: PLC0415 - with TensorFlow

        options = config_pb2.CallableOptions(
            feed=[port.tensor for port in self._inputs],
            fetch=[self._outputs[name].tensor for name in wanted],
        )
        # `make_callable` with feeds is a `Session.run`, which costs several times as much.
        made: Callable[..., list[Any]] = self._session._make_callable_from_options(options)  # noqa: SLF001
        self._callables[wanted] = made
        return made

    def _given(self, feeds: Mapping[str, Value]) -> list[Array]:
        given = []
        for port in self._inputs:
            try:
                given.append(_fed(feeds[port.spec.name], port))
            except KeyError:
                raise InvalidRequestError(
                    f"Input {port.spec.name!r} is missing.", next_step=self._names()
                ) from None
        if len(feeds) > len(given):
            surplus = min(feeds.keys() - {port.spec.name for port in self._inputs})
            raise InvalidRequestError(
                f"The model has no input {surplus[:200]!r}.", next_step=self._names()
            )
        return given

    def _names(self) -> str:
        return f"Its inputs are: {', '.join(spec.name for spec in self.inputs[:20]) or 'none'}."


# What TensorFlow's Python side raises of values that it does not take.
_REFUSALS = (MemoryError, ValueError, TypeError, RuntimeError)


def run_error(error: Exception, tf: Any) -> ElasticInferenceError:
    """Why a run failed."""
    if isinstance(error, ElasticInferenceError):
        return error
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return AcceleratorOutOfMemoryError()
    if isinstance(error, tf.errors.DeadlineExceededError):
        return DeadlineExceededError(
            "The run of the graph took too long and was ended.",
            next_step="Give it less to do; EI_RUN_TIMEOUT of the pool sets the limit.",
        )
    text = f"TensorFlow: {reason_of(error, LONGEST_REASON)}"
    if type(error).__name__ in _REQUEST_ERRORS or isinstance(error, ValueError | TypeError):
        return InvalidRequestError(text)
    return InternalError(text)


def _fed(value: Value, port: Port) -> Array:
    carrier = carrier_of(port.dtype)
    if not isinstance(value, np.ndarray) or value.dtype != carrier:
        found = getattr(value, "dtype", type(value).__name__)
        raise InvalidRequestError(
            f"Input {port.spec.name!r} must be a {port.spec.datatype} tensor, not {found}."
        )
    if port.dtype == "bfloat16":
        import ml_dtypes  # noqa: PLC0415 - TensorFlow has loaded it

        return value.view(ml_dtypes.bfloat16)
    return value


def _own(result: Any, port: Port, given: Sequence[Array]) -> Array:
    """An output in its carrier, in memory that no input lies in."""
    array = np.asarray(result, object) if port.dtype == "string" else np.asarray(result)
    if port.dtype == "bfloat16":
        array = array.view(np.uint16)
    if any(np.may_share_memory(array, each) for each in given):
        return array.copy()
    return array
