"""Puts an accelerator's parts together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elastic_inference.accelerator import devices, heap
from elastic_inference.accelerator.config import AcceleratorConfig
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine
from elastic_inference.accelerator.engines.selection import SelectingEngine
from elastic_inference.accelerator.journal import Journal
from elastic_inference.accelerator.memory import MemoryAccount
from elastic_inference.accelerator.models import ModelRegistry
from elastic_inference.accelerator.store import BlobStore

if TYPE_CHECKING:
    from elastic_inference.accelerator.engines.tensorflow import TensorFlowEngine


def data_plane(config: AcceleratorConfig) -> DataPlane:
    """The data plane that `config` describes, with its engine imported and nothing loaded.

    Raises:
        ConfigurationError: the device is not there.
    """
    heap.configure()
    limits = config.limits
    on_cpu = config.device == "cpu"
    engine = SelectingEngine(
        OnnxRuntimeEngine(config.device, config.memory_bytes, config.threads),
        lambda: _tensorflow(config),
        on_cpu=on_cpu,
    )
    memory = MemoryAccount(
        config.memory_bytes,
        engine.trim,
        reader=None if on_cpu else devices.device_memory(config.device),
        backstop=on_cpu,
        load_wait=limits.load_wait,
    )
    store = BlobStore(config.store_directory, limits)
    models = ModelRegistry(engine, memory, store, Journal(config.journal), limits)
    return DataPlane(config, engine, store, memory, models)


def _tensorflow(config: AcceleratorConfig) -> TensorFlowEngine:
    # Few accelerators run such graphs, and all start without what that takes.
    from elastic_inference.accelerator.engines.tensorflow import (  # noqa: PLC0415
        TensorFlowEngine,
    )

    return TensorFlowEngine(
        config.device, config.memory_bytes, config.threads, config.limits.run_timeout
    )
