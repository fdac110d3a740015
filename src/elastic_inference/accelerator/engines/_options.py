"""Load options as ONNX Runtime's session options."""

from __future__ import annotations

from typing import Any

import onnxruntime as ort

from elastic_inference.accelerator.engines.base import LoadOptions
from elastic_inference.errors import InvalidRequestError

_LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "layout": ort.GraphOptimizationLevel.ORT_ENABLE_LAYOUT,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_MODES = {
    "sequential": ort.ExecutionMode.ORT_SEQUENTIAL,
    "parallel": ort.ExecutionMode.ORT_PARALLEL,
}
# Session entries that change arithmetic or optimisation and name no file and no address.
CONFIG_ALLOWED = frozenset(
    {
        "ep.cuda.use_tf32",
        "mlas.disable_kleidiai",
        "mlas.enable_gemm_fastmath_arm64_bfloat16",
        "mlas.use_lut_gemm",
        "optimization.disable_specified_optimizers",
        "optimization.enable_cast_chain_elimination",
        "optimization.enable_gelu_approximation",
        "session.allow_released_opsets_only",
        "session.disable_aot_function_inlining",
        "session.disable_double_qdq_remover",
        "session.disable_prepacking",
        "session.disable_qdq_constant_folding",
        "session.disable_quant_qdq",
        "session.dynamic_block_base",
        "session.enable_dq_matmulnbits_fusion",
        "session.enable_quant_qdq_cleanup",
        "session.force_spinning_stop",
        "session.inter_op.allow_spinning",
        "session.intra_op.allow_spinning",
        "session.qdq_matmulnbits_accuracy_level",
        "session.qdqisint8allowed",
        "session.set_denormal_as_zero",
        "session.strict_shape_type_inference",
        "session.use_device_allocator_for_initializers",
        "session.x64quantprecision",
    }
)
_LONGEST_CONFIG = 256


def check_options(options: LoadOptions, threads: int) -> None:
    """Refuse options that the engine cannot or must not follow.

    Raises:
        InvalidRequestError: naming the option.
    """
    if not 1 <= options.threads <= threads:
        raise InvalidRequestError(f"threads must be from 1 to {threads}.")
    if options.graph_optimization_level not in _LEVELS:
        raise InvalidRequestError(f"graph_optimization_level must be one of {', '.join(_LEVELS)}.")
    if options.execution_mode not in _MODES:
        raise InvalidRequestError(f"execution_mode must be one of {', '.join(_MODES)}.")
    for key, value in options.config.items():
        if key not in CONFIG_ALLOWED or len(value) > _LONGEST_CONFIG:
            raise InvalidRequestError(
                f"The session entry {key[:100]!r} is not allowed on an accelerator."
            )
    for name, size in options.free_dimensions.items():
        if not 1 <= size < 1 << 31:
            raise InvalidRequestError(f"The size {size} of dimension {name[:100]!r} is not valid.")


def session_options(options: LoadOptions, threads: int, *, shared_arena: bool) -> Any:
    """ONNX Runtime's session options for a checked load."""
    made = ort.SessionOptions()
    made.intra_op_num_threads = min(options.threads, threads)
    made.inter_op_num_threads = 1
    made.log_severity_level = 4
    made.graph_optimization_level = _LEVELS[options.graph_optimization_level]
    made.execution_mode = _MODES[options.execution_mode]
    for key, value in options.config.items():
        made.add_session_config_entry(key, value)
    for name, size in options.free_dimensions.items():
        made.add_free_dimension_override_by_name(name, size)
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made.add_session_config_entry("session.inter_op.allow_spinning", "0")
    made.add_session_config_entry("session.load_model_format", "ONNX")
    if shared_arena:
        made.add_session_config_entry("session.use_env_allocators", "1")
    return made
