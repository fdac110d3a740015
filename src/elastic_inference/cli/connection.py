"""The pool that a command speaks to."""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

from elastic_inference.control.client import ControlClient
from elastic_inference.control.pointer import Pointer
from elastic_inference.errors import UnavailableError
from elastic_inference.settings import ClientSettings, PoolSettings, from_environment

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


def own_pool(settings: PoolSettings) -> ControlClient:
    """The pool of this process's instance, with its credentials, under `ei run`; else as above.

    Raises:
        UnavailableError: there is none, or it does not answer.
        ConfigurationError: the instance has no credentials.
    """
    if os.environ.get("EI_RUN") != "1":
        return need_pool(settings)
    # The client's package loads NumPy, which commands outside of an instance do without.
    from elastic_inference.client import discovery  # noqa: PLC0415

    client = from_environment(ClientSettings)
    credentials = discovery.credentials(client)
    pointer = Pointer(
        endpoint=client.endpoint.rstrip("/"),
        server_name=urlsplit(client.endpoint).hostname or "",
        ca=client.ca_bundle,
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key,
        session_token=credentials.session_token,
    )
    return ControlClient(pointer, settings.start_timeout + _PROBE_TIMEOUT)


def _reach(settings: PoolSettings) -> ControlClient | None:
    pointer = Pointer.load(settings.home.expanduser())
    if pointer is None:
        return None
    ControlClient(pointer, _PROBE_TIMEOUT).call("DescribeAcceleratorTypes", {})
    # Starting accelerators may take as long as they are given.
    return ControlClient(pointer, settings.start_timeout + _PROBE_TIMEOUT)
