"""A segment that runs on the instance, in this process's own TensorFlow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError, InternalError, InvalidRequestError
from elastic_inference.frameworks.tensorflow.plan import Segment
from elastic_inference.protocol.tensorflow import reason_of
from elastic_inference.protocol.tensors import Array

# Each set of outputs that is asked for has a callable of its own.
_MOST_CALLABLES = 64


def import_tensorflow() -> Any:
    """TensorFlow, which then says no more than it must.

    Raises:
        ConfigurationError: it is not installed here.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow  # noqa: PLC0415 - seconds and half a GB, which most models never need
    except ImportError as error:
        raise ConfigurationError(
            f"A part of this model runs on the instance, which has no TensorFlow: {error}.",
            next_step="pip install 'elastic-inference[tensorflow]'",
        ) from error
    return tensorflow


class LocalSegment:
    """A segment's graph in a session. `run` may be called from many threads."""

    def __init__(self, folder: Path, segment: Segment, config: bytes = b"") -> None:
        """
        Args:
            folder: the plan's.
            config: a serialised ConfigProto for the session, or nothing.

        Raises:
            ConfigurationError: TensorFlow is not installed.
            InternalError: the graph cannot be loaded.
        """
        tf = import_tensorflow()
        self._errors = tf.errors
        self._inputs = tuple(tensor.port for tensor in segment.inputs)
        self._outputs = tuple(tensor.port for tensor in segment.outputs)
        self._callables: dict[tuple[str, ...], Callable[..., list[Any]]] = {}
        self._lock = threading.Lock()
        v1 = tf.compat.v1
        graph = tf.Graph()
        try:
            with graph.as_default():
                definition = v1.GraphDef.FromString((folder / segment.file).read_bytes())
                v1.import_graph_def(definition, name="")
            settings = v1.ConfigProto.FromString(config) if config else None
            self._session = v1.Session(graph=graph, config=settings)
            if segment.initializer:
                self._session.run(graph.get_operation_by_name(segment.initializer))
        except (tf.errors.OpError, ValueError, KeyError, OSError) as error:
            raise InternalError(
                f"The part of the model in {segment.file} cannot be loaded: {error}"
            ) from error

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] = ()) -> list[Array]:
        """The values of the ports `outputs`, all if none are named.

        Raises:
            InvalidRequestError: TensorFlow refuses the values.
            InternalError: it fails otherwise.
        """
        wanted = tuple(outputs) or self._outputs
        call = self._callables.get(wanted) or self._callable(wanted)
        try:
            return call(*(feeds[port] for port in self._inputs))
        except (
            self._errors.InvalidArgumentError,
            self._errors.NotFoundError,
            self._errors.OutOfRangeError,
            self._errors.FailedPreconditionError,
            ValueError,
            TypeError,
        ) as error:
            raise InvalidRequestError(reason_of(error)) from error
        except self._errors.OpError as error:
            raise InternalError(f"TensorFlow failed: {reason_of(error)}") from error

    def _callable(self, wanted: tuple[str, ...]) -> Callable[..., list[Any]]:
        with self._lock:
            if len(self._callables) >= _MOST_CALLABLES:
                self._callables.clear()
            made: Callable[..., list[Any]] = self._session.make_callable(
                list(wanted), feed_list=list(self._inputs)
            )
            self._callables[wanted] = made
            return made

    def close(self) -> None:
        self._session.close()
