"""The flags of TensorFlow Serving's model server, and what becomes of each here.

https://github.com/tensorflow/serving/blob/master/tensorflow_serving/model_servers/main.cc
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

HELP, IGNORED, REFUSED = "help", "ignored", "refused"


def _flag(text: str, *, ignored: str = "", refused: str = "") -> Mapping[str, str]:
    return {HELP: text, IGNORED: ignored, REFUSED: refused}


def _threads() -> int:
    return 4 * len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Options:
    """What the flags say; each has its flag's name."""

    port: int = field(
        default=8500,
        metadata=_flag("TCP port for gRPC; 0 for any free one, or none beside a socket path."),
    )
    grpc_socket_path: str = field(default="", metadata=_flag("Path of a UNIX socket for gRPC."))
    rest_api_port: int = field(
        default=0, metadata=_flag("TCP port for HTTP/REST, another one than --port; 0 for none.")
    )
    rest_api_num_threads: int = field(
        default_factory=_threads, metadata=_flag("Threads for HTTP/REST requests.")
    )
    rest_api_timeout_in_ms: int = field(
        default=30_000, metadata=_flag("How long an HTTP/REST request may take.")
    )
    rest_api_enable_cors_support: bool = field(
        default=False, metadata=_flag("Answer with CORS headers.")
    )
    enable_batching: bool = field(
        default=False, metadata=_flag("Put requests together into batches.")
    )
    allow_version_labels_for_unavailable_models: bool = field(
        default=False,
        metadata=_flag("Let new version labels name versions that are not available yet."),
    )
    batching_parameters_file: str = field(
        default="",
        metadata=_flag("Text file with BatchingParameters; needs --enable_batching."),
    )
    enable_per_model_batching_parameters: bool = field(
        default=False,
        metadata=_flag("Read a version's batching_params.pbtxt in place of the common parameters."),
    )
    model_config_file: str = field(
        default="",
        metadata=_flag("Text file with a ModelServerConfig: several models, policies, labels."),
    )
    model_config_file_poll_wait_seconds: int = field(
        default=0, metadata=_flag("Seconds between looks at --model_config_file; 0 for one look.")
    )
    model_name: str = field(
        default="default", metadata=_flag("The model's name, without --model_config_file.")
    )
    model_base_path: str = field(
        default="",
        metadata=_flag("Absolute path of the folder with a folder for each version."),
    )
    num_load_threads: int = field(default=0, metadata=_flag("How many versions load at a time."))
    num_unload_threads: int = field(
        default=0, metadata=_flag("How many versions unload at a time.")
    )
    max_num_load_retries: int = field(
        default=5, metadata=_flag("How often a load is tried again that may succeed later.")
    )
    load_retry_interval_micros: int = field(
        default=60_000_000, metadata=_flag("Microseconds between tries of a load.")
    )
    file_system_poll_wait_seconds: int = field(
        default=1,
        metadata=_flag("Seconds between looks for new versions; 0 for one look, below 0 for none."),
    )
    flush_filesystem_caches: bool = field(
        default=True,
        metadata=_flag(
            "Drop cached files after a load.", ignored="the kernel drops what memory lacks"
        ),
    )
    tensorflow_session_parallelism: int = field(
        default=0, metadata=_flag("Threads for parts of a model that run on the instance.")
    )
    tensorflow_session_config_file: str = field(
        default="",
        metadata=_flag("Text file with a ConfigProto for parts that run on the instance."),
    )
    tensorflow_intra_op_parallelism: int = field(
        default=0, metadata=_flag("As --tensorflow_session_parallelism, within an operation.")
    )
    tensorflow_inter_op_parallelism: int = field(
        default=0, metadata=_flag("As --tensorflow_session_parallelism, across operations.")
    )
    use_alts_credentials: bool = field(
        default=False,
        metadata=_flag("Google ALTS.", refused="it exists on Google Cloud; use --ssl_config_file"),
    )
    ssl_config_file: str = field(
        default="", metadata=_flag("Text file with an SSLConfig for gRPC.")
    )
    platform_config_file: str = field(
        default="",
        metadata=_flag("A PlatformConfigMap.", refused="the only platform is tensorflow"),
    )
    per_process_gpu_memory_fraction: float = field(
        default=0.0,
        metadata=_flag(
            "Part of a GPU's memory.", ignored="the accelerator's type says how much memory it has"
        ),
    )
    saved_model_tags: str = field(
        default="serve", metadata=_flag("Tags of the meta graph, separated by commas.")
    )
    grpc_channel_arguments: str = field(
        default="", metadata=_flag("gRPC's arguments as KEY=VALUE, separated by commas.")
    )
    grpc_max_threads: int = field(
        default_factory=_threads, metadata=_flag("Threads for gRPC requests.")
    )
    enable_model_warmup: bool = field(
        default=True,
        metadata=_flag("Run assets.extra/tf_serving_warmup_requests before a version is served."),
    )
    num_request_iterations_for_warmup: int = field(
        default=0, metadata=_flag("How often each warm-up request is run, if above 0.")
    )
    version: bool = field(default=False, metadata=_flag("Print the version and end."))
    monitoring_config_file: str = field(
        default="", metadata=_flag("Text file with a MonitoringConfig: metrics for Prometheus.")
    )
    remove_unused_fields_from_bundle_metagraph: bool = field(
        default=True,
        metadata=_flag("Keep less of a model.", ignored="nothing unused is kept in any case"),
    )
    prefer_tflite_model: bool = field(
        default=False,
        metadata=_flag("Serve model.tflite.", refused="TensorFlow Lite does not use accelerators"),
    )
    num_tflite_pools: int = field(
        default=0, metadata=_flag("For TensorFlow Lite.", ignored="there is no TensorFlow Lite")
    )
    num_tflite_interpreters_per_pool: int = field(
        default=1, metadata=_flag("For TensorFlow Lite.", ignored="there is no TensorFlow Lite")
    )
    enable_signature_method_name_check: bool = field(
        default=False, metadata=_flag("Refuse signatures with another method name.")
    )
    xla_cpu_compilation_enabled: bool = field(
        default=False, metadata=_flag("XLA on the CPU.", ignored="results are the same without it")
    )
    xla_gpu_compilation_enabled: bool = field(
        default=False, metadata=_flag("XLA on a GPU.", ignored="results are the same without it")
    )
    enable_profiler: bool = field(
        default=True,
        metadata=_flag("TensorFlow's profiler.", ignored="there is none; `ei profile` measures"),
    )
    thread_pool_factory_config_file: str = field(
        default="",
        metadata=_flag("Thread pools.", refused="they are code of another server"),
    )
    mixed_precision: str = field(
        default="",
        metadata=_flag("Precision.", refused="models run in the precision that they have"),
    )
    skip_initialize_tpu: bool = field(
        default=False, metadata=_flag("For TPUs.", ignored="there are none")
    )
    enable_grpc_healthcheck_service: bool = field(
        default=False, metadata=_flag("Serve gRPC's health checks.")
    )
    enable_serialization_as_tensor_content: bool = field(
        default=False, metadata=_flag("Answer Predict with tensor_content.")
    )
