"""`/metrics` in the Prometheus text format, version 0.0.4."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elastic_inference.accelerator.dataplane import DataPlane

# name, kind, help, `Counter` field
_PER_MODEL = (
    ("ei_requests_total", "Inferences answered", "requests"),
    ("ei_request_failures_total", "Inferences answered with an error", "failures"),
    ("ei_receive_seconds_total", "Time from a request's head to its last byte", "receive"),
    ("ei_compute_seconds_total", "Time in the engine", "compute"),
    ("ei_send_seconds_total", "Time to hand answers to the network", "send"),
    ("ei_received_bytes_total", "Bytes of request bodies", "bytes_in"),
    ("ei_sent_bytes_total", "Bytes of answer bodies", "bytes_out"),
)


def render(plane: DataPlane) -> str:
    """All metrics of an accelerator."""
    return "\n".join([*_accelerator(plane), *_models(plane)]) + "\n"


def _accelerator(plane: DataPlane) -> Iterator[str]:
    usage = plane.statistics.usage()
    labels = _labels(accelerator=plane.id, type=plane.config.accelerator_type)
    for name, kind, text, value in (
        ("ei_up", "gauge", "1 while the accelerator takes work", int(plane.ready)),
        (
            "ei_memory_used_bytes",
            "gauge",
            "Memory in use (AcceleratorMemoryUsage)",
            plane.memory.used(),
        ),
        ("ei_memory_limit_bytes", "gauge", "Memory of the slice", plane.memory.limit),
        ("ei_models", "gauge", "Models loaded", len(plane.models)),
        (
            "ei_uptime_seconds",
            "gauge",
            "Seconds since the process started",
            time.time() - plane.statistics.started,
        ),
        (
            "ei_client_calls_total",
            "counter",
            "Calls as clients counted them",
            usage["client_calls"],
        ),
        (
            "ei_client_wall_seconds_total",
            "counter",
            "Time of calls as clients measured it",
            usage["client_wall_ns"] / 1e9,
        ),
    ):
        yield from _header(name, kind, text)
        yield f"{name}{labels} {value}"


def _models(plane: DataPlane) -> Iterator[str]:
    counters = plane.statistics.by_model()
    for name, text, field in _PER_MODEL:
        yield from _header(name, "counter", text)
        for model, counter in counters.items():
            labels = _labels(accelerator=plane.id, model=model)
            yield f"{name}{labels} {getattr(counter, field)}"


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}."
    yield f"# TYPE {name} {kind}"


def _labels(**labels: str) -> str:
    def escape(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{key}="{escape(value)}"' for key, value in labels.items()) + "}"
