"""What a setting takes and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from elastic_inference.errors import ConfigurationError
from elastic_inference.settings import ClientSettings, Limits, PoolSettings, from_environment


@pytest.mark.parametrize(
    ("cls", "env", "text", "value"),
    [
        (Limits, "EI_MAX_BODY", "64MiB", 64 << 20),
        (Limits, "EI_MAX_BODY", " 1.5 gib ", 3 << 29),
        (Limits, "EI_MAX_BODY", "4096", 4096),
        (Limits, "EI_DRAIN_TIMEOUT", "0", 0.0),
        (Limits, "EI_IDLE_TIMEOUT", "576h", 576 * 3600.0),
        (Limits, "EI_MAX_MODELS", "7", 7),
        (ClientSettings, "EI_TIMEOUT", "500ms", 0.5),
        (ClientSettings, "EI_TIMEOUT", "2min", 120.0),
        (ClientSettings, "EI_VISIBLE_DEVICES", "", ""),
        (ClientSettings, "EI_TRANSPORT", "tls", "tls"),
        (PoolSettings, "EI_VIRTUAL_TFLOPS", "2.5", 2.5),
        (PoolSettings, "EI_HEALTH_INTERVAL", "200ms", 0.2),
        (PoolSettings, "EI_NODE_MEMORY", "", None),
        (PoolSettings, "EI_OWN_PORTS", "30000-30099", (30000, 30099)),
        (PoolSettings, "EI_OWN_PORTS", " 443 ", (443, 443)),
        (PoolSettings, "EI_OWN_PORTS", "", None),
    ],
)
def test_values(cls: type[Any], env: str, text: str, value: object) -> None:
    settings = from_environment(cls, {env: text})
    (name,) = [
        name
        for name, item in cls.__dataclass_fields__.items()
        if item.metadata["env"] == env
    ]  # fmt: skip
    assert getattr(settings, name) == value


@pytest.mark.parametrize(
    ("cls", "env", "text"),
    [
        (Limits, "EI_MAX_BODY", "banana"),
        (Limits, "EI_MAX_BODY", "0"),
        (Limits, "EI_MAX_BODY", "-1"),
        (Limits, "EI_MAX_BODY", "64MB"),
        (Limits, "EI_MAX_BODY", "9" * 400),
        (Limits, "EI_MAX_MODELS", "0"),
        (Limits, "EI_MAX_MODELS", "1.5"),
        (Limits, "EI_MAX_MODELS", "9" * 5000),
        (Limits, "EI_IDLE_TIMEOUT", "1000h"),
        (ClientSettings, "EI_TIMEOUT", "soon"),
        (ClientSettings, "EI_TIMEOUT", "nan"),
        (ClientSettings, "EI_TRANSPORT", "TLS"),
        (PoolSettings, "EI_VIRTUAL_TFLOPS", "nan"),
        (PoolSettings, "EI_VIRTUAL_TFLOPS", "0"),
        (PoolSettings, "EI_GPU_TFLOPS", "inf"),
        (PoolSettings, "EI_HEALTH_INTERVAL", "0"),
        (PoolSettings, "EI_INSTANCE_LEASE", "0"),
        (PoolSettings, "EI_OWN_PORTS", "any"),
        (PoolSettings, "EI_OWN_PORTS", "0-10"),
        (PoolSettings, "EI_OWN_PORTS", "30099-30000"),
        (PoolSettings, "EI_OWN_PORTS", "30000-65536"),
        (PoolSettings, "EI_OWN_PORTS", "-30000"),
        (PoolSettings, "EI_OWN_PORTS", "30000,30001"),
    ],
)
def test_what_is_no_value_is_refused_by_name(cls: type[Any], env: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=env):
        from_environment(cls, {env: text})
