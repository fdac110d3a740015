"""What a server serves: TensorFlow Serving's configuration messages as values.

https://github.com/tensorflow/serving/tree/master/tensorflow_serving/config
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from elastic_inference.errors import ConfigurationError, InvalidRequestError
from elastic_inference.serving import schema
from elastic_inference.serving.schema import Kind, Schema

LATEST, ALL, SPECIFIC = "latest", "all", "specific"
TENSORFLOW = "tensorflow"
METRICS_PATH = "/monitoring/prometheus/metrics"
# `model_type`, which names the platform in old files.
_TYPES = {"MODEL_TYPE_UNSPECIFIED": 0, "TENSORFLOW": 1, "OTHER": 2}

_PACKAGE = "tensorflow.serving"
_SOURCE = f"{_PACKAGE}.FileSystemStoragePathSourceConfig.ServableVersionPolicy"
_POLICY = Schema(
    _SOURCE,
    {
        "latest": Kind(
            Schema(f"{_SOURCE}.Latest", {"num_versions": Kind(schema.UINT32)}).read,
            oneof="policy_choice",
        ),
        "all": Kind(Schema(f"{_SOURCE}.All").read, oneof="policy_choice"),
        "specific": Kind(
            Schema(f"{_SOURCE}.Specific", {"versions": Kind(schema.INT64, is_repeated=True)}).read,
            oneof="policy_choice",
        ),
    },
)
_LABEL = Schema(
    f"{_PACKAGE}.ModelConfig.VersionLabelsEntry",
    {"key": Kind(schema.text), "value": Kind(schema.INT64)},
)
_MODEL = Schema(
    f"{_PACKAGE}.ModelConfig",
    {
        "name": Kind(schema.text),
        "base_path": Kind(schema.text),
        "model_type": Kind(schema.enumeration(f"{_PACKAGE}.ModelType", _TYPES)),
        "model_platform": Kind(schema.text),
        "model_version_policy": Kind(_POLICY.read),
        "version_labels": Kind(_LABEL.read, is_repeated=True),
        "logging_config": Kind(schema.anything),
    },
)
_LIST = Schema(f"{_PACKAGE}.ModelConfigList", {"config": Kind(_MODEL.read, is_repeated=True)})
SERVER = Schema(
    f"{_PACKAGE}.ModelServerConfig",
    {
        "model_config_list": Kind(_LIST.read, oneof="config"),
        "custom_model_config": Kind(schema.anything, oneof="config"),
    },
)
_PROMETHEUS = Schema(
    f"{_PACKAGE}.PrometheusConfig", {"enable": Kind(schema.boolean), "path": Kind(schema.text)}
)
MONITORING = Schema(f"{_PACKAGE}.MonitoringConfig", {"prometheus_config": Kind(_PROMETHEUS.read)})
SSL = Schema(
    f"{_PACKAGE}.SSLConfig",
    {
        "server_key": Kind(schema.data),
        "server_cert": Kind(schema.data),
        "custom_ca": Kind(schema.data),
        "client_verify": Kind(schema.boolean),
    },
)


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions of a model are served.

    Attributes:
        kind: `latest`, `all` or `specific`.
        count: how many of the latest ones; 0 means 1.
        versions: the specific ones.
    """

    kind: str = LATEST
    count: int = 1
    versions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model.

    Attributes:
        base_path: the folder with a folder for each version.
        platform: `tensorflow`.
        labels: versions by label.
        is_logged: whether it asks for a log of its requests.
    """

    name: str
    base_path: str
    platform: str = TENSORFLOW
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=dict)
    is_logged: bool = False


@dataclass(frozen=True, slots=True)
class ModelServerConfig:
    """All models of a server.

    Attributes:
        custom: the type of a `custom_model_config`, which no server takes, or "".
    """

    models: tuple[ModelConfig, ...] = ()
    custom: str = ""


@dataclass(frozen=True, slots=True)
class MonitoringConfig:
    """Where metrics are given.

    Attributes:
        is_enabled: whether they are.
    """

    is_enabled: bool = False
    path: str = METRICS_PATH


@dataclass(frozen=True, slots=True)
class SslConfig:
    """Certificates in PEM.

    Attributes:
        authority: of the clients' certificates; b"" for none.
        verifies_clients: whether clients need one.
    """

    key: bytes
    certificate: bytes
    authority: bytes = b""
    verifies_clients: bool = False


def read_models(path: str) -> ModelServerConfig:
    """The ModelServerConfig in the text file at `path`; errors as `schema.read_file`."""
    return models_of(schema.read_file(path, SERVER))


def models_of(document: Mapping[str, Any]) -> ModelServerConfig:
    """The configuration that `SERVER` read."""
    if "custom_model_config" in document:
        return ModelServerConfig(custom="custom_model_config")
    entries = document.get("model_config_list", {}).get("config", ())
    return ModelServerConfig(tuple(model_config(entry) for entry in entries))


def read_monitoring(path: str) -> MonitoringConfig:
    """The MonitoringConfig in the text file at `path`; errors as `schema.read_file`."""
    document = schema.read_file(path, MONITORING).get("prometheus_config", {})
    metrics_path = document.get("path") or METRICS_PATH
    if not metrics_path.startswith("/"):
        raise ConfigurationError(f"The metrics' path {metrics_path!r} does not begin with a slash.")
    return MonitoringConfig(document.get("enable", False), metrics_path)


def read_ssl(path: str) -> SslConfig:
    """The SSLConfig in the text file at `path`; errors as `schema.read_file`."""
    document = schema.read_file(path, SSL)
    key, certificate = document.get("server_key", b""), document.get("server_cert", b"")
    if not key or not certificate:
        raise ConfigurationError(f"{path} lacks a server_key or server_cert.")
    authority = document.get("custom_ca", b"")
    return SslConfig(key, certificate, authority, document.get("client_verify", False))


def check(config: ModelServerConfig) -> None:
    """Refuse what cannot be served, in TensorFlow Serving's words.

    Raises:
        InvalidRequestError: a model is named twice, has no absolute path, another platform, …
    """
    if config.custom:
        raise InvalidRequestError(
            "ModelServer does not yet support custom model config.",
            next_step="Give a model_config_list.",
        )
    seen = set()
    for model in config.models:
        if not model.name:
            raise InvalidRequestError("A model of the config list has no name.")
        if model.name in seen:
            raise InvalidRequestError(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        seen.add(model.name)
        if not PurePosixPath(model.base_path).is_absolute():
            raise InvalidRequestError(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}",
                next_step="Name the folder from the root, as in /models/NAME.",
            )
        _check_platform(model)


def _check_platform(model: ModelConfig) -> None:
    if not model.platform:
        raise InvalidRequestError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {model.name}",
            next_step='Add model_platform: "tensorflow".',
        )
    if model.platform != TENSORFLOW:
        raise InvalidRequestError(
            f"Model {model.name} requests unsupported platform {model.platform}",
            next_step='The only one is "tensorflow".',
        )


def platform_of(platform: str, model_type: int, name: str) -> str:
    """A model's platform by its two fields.

    Raises:
        InvalidRequestError: both are set, or its type is not TensorFlow's.
    """
    if not model_type:
        return platform
    if platform:
        raise InvalidRequestError(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            f"ModelServerConfig::model_platform, model name is {name}"
        )
    if model_type != _TYPES["TENSORFLOW"]:
        raise InvalidRequestError(
            f"ModelServerConfig::model_type choice {model_type} not supported."
        )
    return TENSORFLOW


def model_config(
    document: Mapping[str, Any], numbers: Callable[[Any], Sequence[int]] = tuple
) -> ModelConfig:
    """The model that a ModelConfig message describes.

    Args:
        document: the message by its fields' names.
        numbers: makes a sequence of what the message has for repeated numbers.

    Raises:
        InvalidRequestError: its platform is set twice, or is not TensorFlow.
    """
    name = document.get("name", "")
    labels = document.get("version_labels", ())
    return ModelConfig(
        name,
        document.get("base_path", ""),
        platform_of(document.get("model_platform", ""), document.get("model_type", 0), name),
        _policy(document.get("model_version_policy", {}), numbers),
        {entry.get("key", ""): entry.get("value", 0) for entry in labels},
        "logging_config" in document,
    )


def _policy(document: Mapping[str, Any], numbers: Callable[[Any], Sequence[int]]) -> VersionPolicy:
    if SPECIFIC in document:
        versions = document[SPECIFIC].get("versions")
        found = () if versions is None else tuple(numbers(versions))
        return VersionPolicy(SPECIFIC, versions=found)
    if ALL in document:
        return VersionPolicy(ALL)
    return VersionPolicy(LATEST, max(document.get(LATEST, {}).get("num_versions", 1), 1))
