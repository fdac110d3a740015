"""The pool that a command speaks to."""

from __future__ import annotations

import sys

from elastic_inference.control.client import ControlClient
from elastic_inference.control.pointer import Pointer
from elastic_inference.errors import UnavailableError
from elastic_inference.settings import PoolSettings

_PROBE_TIMEOUT = 5.0


def find_pool(settings: PoolSettings) -> ControlClient | None:
    """The pool that `current.json` names, if it answers; if it does not, that is said."""
    try:
        return _reach(settings)
    except UnavailableError as error:
        print(f"ei: {error.message} Going on without it.", file=sys.stderr)
        return None


def need_pool(settings: PoolSettings) -> ControlClient:
    """The pool that `current.json` names.

    Raises:
        UnavailableError: none runs, or it does not answer.
    """
    pool = _reach(settings)
    if pool is None:
        raise UnavailableError("No pool runs.", next_step="Start one with ei up.")
    return pool


def _reach(settings: PoolSettings) -> ControlClient | None:
    pointer = Pointer.load(settings.home.expanduser())
    if pointer is None:
        return None
    ControlClient(pointer, _PROBE_TIMEOUT).call("DescribeAcceleratorTypes", {})
    # Starting accelerators may take as long as they are given.
    return ControlClient(pointer, settings.start_timeout + _PROBE_TIMEOUT)
