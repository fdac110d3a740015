"""The accelerator that this process's models run on, whatever their framework."""

from __future__ import annotations

import os
import threading
import warnings
from typing import Any

from elastic_inference.client import Accelerator, connect
from elastic_inference.errors import NotFoundError, UnavailableError
from elastic_inference.settings import ClientSettings, from_environment

_lock = threading.Lock()
_connected: dict[str | int | None, Accelerator | None] = {}


def accelerator(
    wanted: str | int | Accelerator | None = None,
    *,
    consequence: str = "sessions run on the local ONNX Runtime",
) -> Accelerator | None:
    """The accelerator to run on; None where this process is to use the local engine.

    Connects once per process and accelerator.

    Args:
        wanted: an accelerator, its id, its ordinal among the visible ones, or None for the
            first.
        consequence: what happens where none is attached, for the warning that says so.

    Raises:
        ElasticInferenceError: there is one, but it cannot be reached, or `wanted` is not there.
    """
    if isinstance(wanted, Accelerator):
        return wanted
    settings = from_environment(ClientSettings)
    if settings.visible_devices is not None and not settings.visible_devices.strip():
        return None
    with _lock:
        if wanted not in _connected:
            _connected[wanted] = _connect(wanted, settings, consequence)
        return _connected[wanted]


def _connect(
    wanted: str | int | None, settings: ClientSettings, consequence: str
) -> Accelerator | None:
    try:
        return connect(wanted, settings)
    except NotFoundError:
        if wanted is not None:
            raise
    except UnavailableError:
        if wanted is not None or "AWS_EC2_METADATA_SERVICE_ENDPOINT" in os.environ:
            raise
    warnings.warn(
        f"No accelerator is attached to this process: {consequence}. "
        "Start the application under `ei run --accelerator TYPE -- COMMAND` to use one.",
        RuntimeWarning,
        stacklevel=4,
    )
    return None


def goes_on_locally() -> bool:
    """Whether a model whose accelerator is lost for good goes on with the local engine."""
    return from_environment(ClientSettings).on_loss == "local"


def warn_of_loss(error: UnavailableError, consequence: str, *, stacklevel: int = 4) -> None:
    """Say that a model goes on without its accelerator.

    Args:
        consequence: what goes on how.
        stacklevel: of the warning, as if the caller gave it.
    """
    warnings.warn(
        f"The accelerator is lost ({error}); {consequence}, as EI_ON_LOSS=local says.",
        RuntimeWarning,
        stacklevel=stacklevel + 1,
    )


def domains(target: Accelerator) -> tuple[dict[str, int], int]:
    """The operator-set domains that an accelerator runs, and its number of threads."""
    info: dict[str, Any] = target.info()
    known = {str(name): int(newest) for name, newest in info["engine"]["domains"].items()}
    return known, int(info.get("threads", 1))
