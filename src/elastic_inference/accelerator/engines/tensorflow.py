"""TensorFlow as an engine, for graphs that ONNX cannot say.

It is imported when the first such graph is loaded: what its libraries take of the slice's memory
counts as that graph's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from elastic_inference.accelerator.engines import _graphdef
from elastic_inference.accelerator.engines._graphdef import DATATYPES, Interface, Port
from elastic_inference.accelerator.engines._options import check_options
from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ConfigurationError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    ModelFormatError,
)
from elastic_inference.protocol.tensors import CARRIER, Array, Value

PROVIDER = "TensorFlow"
_REQUEST_ERRORS = (
    "InvalidArgumentError", "NotFoundError", "OutOfRangeError", "FailedPreconditionError",
    "UnimplementedError", "AlreadyExistsError",
)  # fmt: skip
# Each set of outputs that is asked for has a callable of its own.
_MOST_CALLABLES = 64


class TensorFlowEngine:
    """Loads frozen graphs. See `engines.base.Engine`.

    Args:
        device: `cpu` or `cuda:N`.
        memory_bytes: of the slice.
        threads: the slice's threads.

    Raises:
        ConfigurationError: TensorFlow is not installed.
    """

    def __init__(self, device: str, memory_bytes: int, threads: int) -> None:
        self._device = device
        self._memory_bytes = memory_bytes
        self._threads = threads
        self._tf = _import()

    def load(self, files: ModelFiles, options: LoadOptions) -> TensorFlowModel:
        """See `engines.base.Engine.load`."""
        tf = self._tf
        check_options(options, self._threads)
        interface = _graphdef.read_interface(files.directory / _graphdef.INTERFACE)
        definition = _graphdef.read_graph(files.directory / files.main, self._memory_bytes, tf)
        graph = tf.Graph()
        try:
            with graph.as_default():
                tf.compat.v1.import_graph_def(definition, name="")
            _check_interface(graph, interface)
            session = tf.compat.v1.Session(graph=graph, config=self._settings(options))
            if interface.initializer:
                session.run(graph.get_operation_by_name(interface.initializer))
        except ElasticInferenceError:
            raise
        except tf.errors.ResourceExhaustedError as error:
            raise AcceleratorOutOfMemoryError from error
        except (tf.errors.OpError, ValueError, KeyError, TypeError) as error:
            raise ModelFormatError(f"TensorFlow refuses the graph: {reason_of(error)}") from error
        return TensorFlowModel(tf, session, interface)

    def _settings(self, options: LoadOptions) -> Any:
        v1 = self._tf.compat.v1
        settings = v1.ConfigProto(
            intra_op_parallelism_threads=min(options.threads, self._threads),
            inter_op_parallelism_threads=self._threads,
            allow_soft_placement=True,
        )
        if self._device == "cpu":
            settings.device_count["GPU"] = 0
        else:
            settings.gpu_options.visible_device_list = self._device.partition(":")[2] or "0"
            settings.gpu_options.allow_growth = True
        if options.graph_optimization_level == "disable":
            settings.graph_options.rewrite_options.disable_meta_optimizer = True
        return settings


class TensorFlowModel:
    """A graph in a session. See `engines.base.LoadedModel`."""

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

    def run(
        self, feeds: Mapping[str, Value], outputs: Sequence[str] | None = None
    ) -> Sequence[Value]:
        wanted = tuple(outputs or self._outputs)
        call = self._callables.get(wanted) or self._callable(wanted)
        given = self._given(feeds)
        tf = self._tf
        try:
            results = call(*given)
        except tf.errors.ResourceExhaustedError as error:
            raise AcceleratorOutOfMemoryError from error
        except tf.errors.OpError as error:
            kind = InvalidRequestError if type(error).__name__ in _REQUEST_ERRORS else InternalError
            raise kind(f"TensorFlow: {reason_of(error)}") from error
        except MemoryError as error:
            raise AcceleratorOutOfMemoryError from error
        except (ValueError, TypeError) as error:
            raise InvalidRequestError(f"TensorFlow: {reason_of(error)}") from error
        return [
            _own(result, self._outputs[name], given)
            for name, result in zip(wanted, results, strict=True)
        ]

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
                self._callables = {}
            made: Callable[..., list[Any]] = self._session.make_callable(
                [self._outputs[name].tensor for name in wanted],
                feed_list=[port.tensor for port in self._inputs],
            )
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


def _import() -> Any:
    # Set before it is loaded, or it prints what it finds of the machine.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        import tensorflow  # noqa: PLC0415 - seconds and half a GB, for graphs that need it alone
    except ImportError as error:
        raise ConfigurationError(
            f"This graph runs in TensorFlow, which the accelerator's machine lacks: {error}.",
            next_step="There: pip install 'elastic-inference[tensorflow]', then restart the pool.",
        ) from error
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow


def _check_interface(graph: Any, interface: Interface) -> None:
    """The tensors must be there, and of these types.

    Raises:
        ModelFormatError: one is not.
    """
    for port in (*interface.inputs, *interface.outputs):
        try:
            tensor = graph.get_tensor_by_name(port.tensor)
        except (KeyError, ValueError, TypeError) as error:
            raise ModelFormatError(f"The graph has no tensor {port.tensor!r}.") from error
        if tensor.dtype.base_dtype.name != port.dtype:
            raise ModelFormatError(
                f"The tensor {port.tensor!r} is of type {tensor.dtype.name}, not {port.dtype}."
            )
    for port in interface.inputs:
        if not graph.is_feedable(graph.get_tensor_by_name(port.tensor)):
            raise ModelFormatError(f"The tensor {port.tensor!r} cannot be fed.")


def _fed(value: Value, port: Port) -> Array:
    carrier = CARRIER[DATATYPES[port.dtype]]
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


def reason_of(error: Exception) -> str:
    """What TensorFlow says is wrong, without where in whose code the graph was made."""
    text = str(getattr(error, "message", None) or error).strip()
    _, node, told = text.rpartition("\nNode: ")
    lines = told.split("\n")[1:] if node else text.split("\n")
    return next((line.strip() for line in lines if line.strip()), text)[:600]
