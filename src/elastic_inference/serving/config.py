"""What a server serves: TensorFlow Serving's configuration messages as values.

https://github.com/tensorflow/serving/tree/master/tensorflow_serving/config
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LATEST, ALL, SPECIFIC = "latest", "all", "specific"
TENSORFLOW = "tensorflow"
METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions of a model are served.

    Attributes:
        kind: `latest`, `all` or `specific`.
        count: how many of the latest ones.
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
