"""Session and run options: ONNX Runtime's own, and what was asked of them, remembered.

ONNX Runtime's classes do not tell which libraries, overrides and initialisers were added to
them. These are the same classes, used by the local parts as they are, that remember it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from elastic_inference.frameworks.onnxruntime import real

# Entries that change results. Others tune the machine that ORT runs on, which the accelerator
# does for itself.
_RESULT_ENTRIES = (
    "session.disable_qdq_constant_folding",
    "session.enable_dq_matmulnbits_fusion",
    "session.qdq_matmulnbits_accuracy_level",
    "session.strict_shape_type_inference",
    "session.set_denormal_as_zero",
    "session.disable_quant_qdq",
    "session.disable_double_qdq_remover",
    "session.enable_quant_qdq_cleanup",
    "session.disable_aot_function_inlining",
    "session.qdqisint8allowed",
    "session.x64quantprecision",
    "optimization.enable_gelu_approximation",
    "optimization.enable_cast_chain_elimination",
    "optimization.disable_specified_optimizers",
    "mlas.enable_gemm_fastmath_arm64_bfloat16",
)
# What stands at the fifth byte of a model in ONNX Runtime's own format.
_ORT_FORMAT = b"ORTM"
_LEVELS = {
    "ORT_DISABLE_ALL": "disable",
    "ORT_ENABLE_BASIC": "basic",
    "ORT_ENABLE_EXTENDED": "extended",
    "ORT_ENABLE_LAYOUT": "layout",
    "ORT_ENABLE_ALL": "all",
}


class SessionOptions(real.SessionOptions):  # type: ignore[misc]  # the real class is untyped
    """`onnxruntime.SessionOptions`, which remembers what was added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.custom_op_libraries: list[str] = []
        self.free_dimensions: dict[str, int] = {}
        self.local_reasons: list[str] = []
        self.initializers: dict[str, Any] = {}
        self.initializer_files: dict[str, bytes] = {}

    def register_custom_ops_library(self, path: str) -> None:
        super().register_custom_ops_library(path)
        self.custom_op_libraries.append(path)

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        super().add_free_dimension_override_by_name(name, size)
        self.free_dimensions[name] = int(size)

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> None:
        super().add_free_dimension_override_by_denotation(denotation, size)
        self.local_reasons.append("dimensions are overridden by denotation")

    def add_initializer(self, name: str, value: Any) -> None:
        super().add_initializer(name, value)
        self.local_reasons.append("initializers are shared through the session options")

    def add_external_initializers(self, names: list[str], values: list[Any]) -> None:
        super().add_external_initializers(names, values)
        self.local_reasons.append("initializers are given in the session options")

    def add_external_initializers_from_files_in_memory(
        self, names: Sequence[str], buffers: Sequence[Any], lengths: Sequence[int]
    ) -> None:
        super().add_external_initializers_from_files_in_memory(names, buffers, lengths)
        for name, buffer, length in zip(names, buffers, lengths, strict=True):
            self.initializer_files[name] = bytes(memoryview(buffer).cast("B")[:length])


class RunOptions(real.RunOptions):  # type: ignore[misc]  # the real class is untyped
    """`onnxruntime.RunOptions`, which remembers its adapters."""

    def __init__(self) -> None:
        super().__init__()
        self.adapters: list[Any] = []

    def add_active_adapter(self, adapter: Any) -> None:
        super().add_active_adapter(adapter)
        self.adapters.append(adapter)


def load_options(options: Any, threads: int) -> dict[str, Any]:
    """The options of a load on the accelerator that mean what `options` mean here.

    Args:
        options: ONNX Runtime session options, or None.
        threads: how many the accelerator's slice has.
    """
    if options is None:
        return {}
    chosen: dict[str, Any] = {}
    level = _LEVELS.get(options.graph_optimization_level.name, "all")
    if level != "all":
        chosen["graph_optimization_level"] = level
    if options.intra_op_num_threads > 0:
        chosen["threads"] = min(options.intra_op_num_threads, threads)
    if options.execution_mode.name == "ORT_PARALLEL":
        chosen["execution_mode"] = "parallel"
    if getattr(options, "free_dimensions", None):
        chosen["free_dimensions"] = dict(options.free_dimensions)
    config = {key: value for key in _RESULT_ENTRIES if (value := config_entry(options, key))}
    if config:
        chosen["config"] = config
    return chosen


def config_entry(options: Any, key: str) -> str:
    """A session entry's value, or "" where it is not set."""
    try:
        return str(options.get_session_config_entry(key))
    except RuntimeError:
        return ""


def reasons_for_local(source: Any, options: Any) -> list[str]:
    """Why a session has to run on this machine altogether; [] if it need not.

    Args:
        source: the model's path or bytes, or whatever else the caller gave.
        options: ONNX Runtime session options, or None.
    """
    reasons = []
    named = isinstance(source, str | os.PathLike) and os.fspath(source).endswith(".ort")
    if named or (isinstance(source, bytes) and source[4:8] == _ORT_FORMAT):
        reasons.append("the model is in the ORT format")
    if options is None:
        return reasons
    reasons += getattr(options, "local_reasons", ())
    if options.enable_profiling:
        reasons.append("profiling is on, and profiles are of the local engine")
    if getattr(options, "has_providers", lambda: False)():
        reasons.append("the session options name execution providers of this machine")
    if config_entry(options, "session.load_model_format").upper() == "ORT":
        reasons.append("the model is in the ORT format")
    return reasons
