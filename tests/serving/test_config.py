from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elastic_inference.errors import (
    ConfigurationError,
    ElasticInferenceError,
    InvalidRequestError,
)
from elastic_inference.serving import batching_parameters
from elastic_inference.serving.batching_parameters import BatchingParameters
from elastic_inference.serving.config import (
    ALL,
    METRICS_PATH,
    SPECIFIC,
    ModelConfig,
    ModelServerConfig,
    MonitoringConfig,
    SslConfig,
    VersionPolicy,
    check,
    read_models,
    read_monitoring,
    read_ssl,
)
from elastic_inference.serving.options import Options
from elastic_inference.serving.session_config import session_config
from elastic_inference.serving.textproto import TextFormatError

_MODELS = """
model_config_list: {
  config: {
    name: "half_plus_two", base_path: "/models/half_plus_two"  # the usual one
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
    logging_config { sampling_config { sampling_rate: 0.1 } }
  },
  config { name: 'all' base_path: '/models/all' model_type: TENSORFLOW
           model_version_policy: { all: {} } }
  config < name: "latest" base_path: "/models/latest" model_platform: "tensorflow"
           model_version_policy < latest < num_versions: 3 > > >
}
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "config.txt"
    path.write_text(text)
    return str(path)


def test_models_policies_and_labels(tmp_path: Path) -> None:
    config = read_models(_file(tmp_path, _MODELS))
    check(config)
    assert config == ModelServerConfig(
        (
            ModelConfig(
                "half_plus_two",
                "/models/half_plus_two",
                policy=VersionPolicy(SPECIFIC, versions=(1, 2)),
                labels={"stable": 1, "canary": 2},
                is_logged=True,
            ),
            ModelConfig("all", "/models/all", policy=VersionPolicy(ALL)),
            ModelConfig("latest", "/models/latest", policy=VersionPolicy(count=3)),
        )
    )


def test_no_versions_means_the_latest_one(tmp_path: Path) -> None:
    text = "model_config_list { config { model_version_policy { latest {} } } }"
    (model,) = read_models(_file(tmp_path, text)).models
    assert model.policy == VersionPolicy()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('improper { name: "x" }', 'no field named "improper"'),
        (
            "model_config_list { config { model_version_policy { all {} latest {} } } }",
            'another member of oneof "policy_choice"',
        ),
        (
            "model_config_list { config { name: 'a' model_type: TENSORFLOW model_platform: 'b' } }",
            "Illegal setting both",
        ),
        ("model_config_list { config { model_type: OTHER } }", "choice 2 not supported"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why):
        read_models(_file(tmp_path, text))


def test_what_tools_wait_for(tmp_path: Path) -> None:
    path = _file(tmp_path, "nonsense")
    with pytest.raises(TextFormatError) as raised:
        read_models(path)
    assert raised.value.message == (
        "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:9: Expected ':' or "
        f"'{{', found the end. (Invalid protobuf file: '{path}')"
    )


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_models(str(tmp_path / "none"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(TextFormatError, match="is not UTF-8"):
        read_models(str(tmp_path / "binary"))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (ModelServerConfig(custom="x"), "does not yet support custom model config"),
        (ModelServerConfig((ModelConfig("", "/a"),)), "has no name"),
        (
            ModelServerConfig((ModelConfig("a", "/a"), ModelConfig("a", "/b"))),
            "Illegal to list model a multiple times",
        ),
        (
            ModelServerConfig((ModelConfig("a", "models/a"),)),
            r"Expected model a to have an absolute path or URI; got base_path\(\)=models/a",
        ),
        (ModelServerConfig((ModelConfig("a", "/a", ""),)), "Illegal setting neither"),
        (
            ModelServerConfig((ModelConfig("a", "/a", "caffe"),)),
            "Model a requests unsupported platform caffe",
        ),
    ],
)
def test_what_cannot_be_served(config: ModelServerConfig, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why):
        check(config)


def test_monitoring(tmp_path: Path) -> None:
    path = _file(tmp_path, "prometheus_config { enable: true }")
    assert read_monitoring(path) == MonitoringConfig(True, METRICS_PATH)
    path = _file(tmp_path, "prometheus_config: { enable: true, path: '/metrics' }")
    assert read_monitoring(path) == MonitoringConfig(True, "/metrics")
    assert not read_monitoring(_file(tmp_path, "")).is_enabled
    with pytest.raises(ConfigurationError, match="does not begin with a slash"):
        read_monitoring(_file(tmp_path, "prometheus_config { path: 'metrics' }"))


def test_certificates(tmp_path: Path) -> None:
    text = r"server_key: 'KEY\n' server_cert: 'CERT' custom_ca: 'CA' client_verify: true"
    assert read_ssl(_file(tmp_path, text)) == SslConfig(b"KEY\n", b"CERT", b"CA", True)
    with pytest.raises(ConfigurationError, match="lacks a server_key or server_cert"):
        read_ssl(_file(tmp_path, "server_key: 'KEY'"))


def test_batching_parameters(tmp_path: Path) -> None:
    text = """
    max_batch_size { value: 128 }
    batch_timeout_micros { value: 1500 }
    max_enqueued_batches { value: 1000000 }
    num_batch_threads { value: 8 }
    thread_pool_name { value: "pool" }
    allowed_batch_sizes: 8 allowed_batch_sizes: 128
    pad_variable_length_inputs: true
    """
    assert batching_parameters.read(_file(tmp_path, text)) == BatchingParameters(
        128, 0.0015, 1_000_000, 8, (8, 128), True
    )
    defaults = batching_parameters.read(_file(tmp_path, ""))
    assert (defaults.most_rows, defaults.timeout, defaults.most_batches) == (1000, 0.0, 10)
    assert defaults.threads >= 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("num_batch_threads { value: 0 }", "num_batch_threads must be at least 1; was 0"),
        ("max_batch_size {}", "max_batch_size must be at least 1; was 0"),
        ("allowed_batch_sizes: [4, 2]", "must be in increasing order"),
        ("allowed_batch_sizes: [4, 8]", "must match max_batch_size; last entry was 8; expected"),
        (
            """enable_large_batch_splitting { value: true } allowed_batch_sizes: 8
            max_batch_size { value: 8 } max_execution_batch_size { value: 4 }""",
            "must match max_execution_batch_size",
        ),
        (
            "max_batch_size { value: 8 } max_execution_batch_size { value: 9 }",
            "is larger than max_batch_size",
        ),
        ("max_batch_size: 8", "Expected a message of type google.protobuf.Int64Value"),
    ],
)
def test_batching_that_cannot_be_had(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ElasticInferenceError, match=why):
        batching_parameters.read(_file(tmp_path, text))


@pytest.mark.slow
def test_the_session_config_is_what_tensorflow_reads(tmp_path: Path) -> None:
    import tensorflow as tf

    text = (
        "device_count { key: 'CPU' value: 2 } intra_op_parallelism_threads: 3\n"
        "allow_soft_placement: true operation_timeout_in_ms: -1 gpu_options { allow_growth: true }"
    )
    cases: list[tuple[dict[str, Any], tuple[int, int]]] = [
        ({}, (3, 0)),
        ({"tensorflow_session_parallelism": 5}, (5, 5)),
        ({"tensorflow_inter_op_parallelism": 7}, (3, 7)),
    ]
    for flags, threads in cases:
        options = Options(tensorflow_session_config_file=_file(tmp_path, text), **flags)
        read = tf.compat.v1.ConfigProto.FromString(session_config(options))
        assert (read.intra_op_parallelism_threads, read.inter_op_parallelism_threads) == threads
        assert dict(read.device_count) == {"CPU": 2}
        assert (read.allow_soft_placement, read.operation_timeout_in_ms) == (True, -1)
    assert session_config(Options()) == b""
