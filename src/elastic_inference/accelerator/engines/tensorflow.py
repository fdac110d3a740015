"""TensorFlow as an engine, for graphs that ONNX cannot say.

It is imported when the first such graph is loaded. What its libraries take of the slice's memory
counts from then on.
"""

from __future__ import annotations

import gc
import os
from typing import Any
from weakref import WeakSet

from elastic_inference.accelerator import devices
from elastic_inference.accelerator.engines import _graphdef
from elastic_inference.accelerator.engines._graphmodel import (
    LONGEST_REASON,
    TensorFlowModel,
    run_error,
)
from elastic_inference.accelerator.engines._interface import Interface, read_interface
from elastic_inference.accelerator.engines._options import check_options
from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.accelerator.memory import ProcessMemory
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ConfigurationError,
    ElasticInferenceError,
    ModelFormatError,
)
from elastic_inference.protocol.tensorflow import INTERFACE, node_of, reason_of


class TensorFlowEngine:
    """Loads frozen graphs. See `engines.base.Engine`.

    Args:
        device: `cpu` or `cuda:N`.
        memory_bytes: of the slice.
        threads: the slice's threads.
        longest_run: seconds after which a run is ended.

    Attributes:
        libraries: bytes of this process's memory that TensorFlow's libraries take.

    Raises:
        ConfigurationError: TensorFlow is not installed.
    """

    def __init__(self, device: str, memory_bytes: int, threads: int, longest_run: float) -> None:
        self._device = device
        self._memory_bytes = memory_bytes
        self._threads = threads
        self._longest_run = longest_run
        self._models: WeakSet[TensorFlowModel] = WeakSet()
        # Whether a graph may be left that nothing needs.
        self._left = False
        memory = ProcessMemory()
        before = memory.read()
        self._tf = _import(memory_bytes if device == "cpu" else 0)
        self.libraries = max(0, memory.read() - before)

    def load(self, files: ModelFiles, options: LoadOptions) -> TensorFlowModel:
        """See `engines.base.Engine.load`."""
        check_options(options, self._threads)
        interface = read_interface(files.directory / INTERFACE)
        self._left = True
        fed = {node_of(port.tensor) for port in interface.inputs}
        definition = _graphdef.read_graph(
            files.directory / files.main, self._memory_bytes, fed, self._tf
        )
        try:
            model = self._open(definition, interface, options)
        except ElasticInferenceError:
            raise
        except (MemoryError, self._tf.errors.ResourceExhaustedError) as error:
            raise AcceleratorOutOfMemoryError from error
        except self._tf.errors.DeadlineExceededError as error:
            raise run_error(error, self._tf) from error
        except Exception as error:
            # Whatever it is: all that TensorFlow was given here is the model.
            raise ModelFormatError(
                f"TensorFlow refuses the graph: {reason_of(error, LONGEST_REASON)}"
            ) from error
        self._models.add(model)
        return model

    def trim(self) -> None:
        """See `engines.base.Engine.trim`."""
        for model in tuple(self._models):
            model.trim()
            if model.closed:
                self._models.discard(model)
                self._left = True
        if self._left:
            self._left = False
            # A graph's parts refer to each other, so nothing else frees them.
            gc.collect()

    def _open(self, definition: Any, interface: Interface, options: LoadOptions) -> TensorFlowModel:
        tf = self._tf
        graph = tf.Graph()
        with graph.as_default():
            tf.compat.v1.import_graph_def(definition, name="")
        _check_interface(graph, interface)
        session = tf.compat.v1.Session(graph=graph, config=self._settings(options))
        try:
            if interface.initializer:
                session.run(graph.get_operation_by_name(interface.initializer))
            return TensorFlowModel(tf, session, interface)
        except BaseException:
            session.close()
            raise

    def _settings(self, options: LoadOptions) -> Any:
        settings = self._tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=min(options.threads, self._threads),
            inter_op_parallelism_threads=self._threads,
            allow_soft_placement=True,
            operation_timeout_in_ms=int(self._longest_run * 1000),
        )
        # Else the session keeps copies of the weights for a graph that grows.
        settings.experimental.optimize_for_static_graph = True
        settings.experimental.disable_output_partition_graphs = True
        if self._device == "cpu":
            settings.device_count["GPU"] = 0
        else:
            gpu = settings.gpu_options
            gpu.visible_device_list = self._device.partition(":")[2] or "0"
            gpu.allow_growth = True
            whole = sum(each.memory_bytes for each in devices.discover() if each.id == self._device)
            if whole and self._memory_bytes:
                gpu.per_process_gpu_memory_fraction = min(1.0, self._memory_bytes / whole)
        if options.graph_optimization_level == "disable":
            settings.graph_options.rewrite_options.disable_meta_optimizer = True
        return settings


def _import(arena_bytes: int) -> Any:
    # Set before it is loaded, or it prints what it finds of the machine.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if arena_bytes:
        os.environ["TF_MKL_ALLOC_MAX_BYTES"] = str(arena_bytes)
    try:
        import tensorflow  # noqa: PLC0415 - seconds and much memory, for graphs that need it alone
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
