"""The pool that a command speaks to."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from urllib.parse import urlsplit

from elastic_inference.control.client import ControlClient
from elastic_inference.control.pointer import Pointer
from elastic_inference.errors import ConfigurationError, NotFoundError, UnavailableError
from elastic_inference.settings import ClientSettings, PoolSettings, from_environment

PROBE_TIMEOUT = 5.0
ENDPOINT = "AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME"


def pointed() -> Pointer | None:
    """The pool to use: the one that the environment names, or `current.json`; None for none.

    The environment names one where it has its URL and credentials (`ei env`). Within an instance
    the URL is the instance's, and credentials may be of anything.
    """
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    endpoint = os.environ.get(ENDPOINT)
    if endpoint and key and secret and os.environ.get("EI_RUN") != "1":
        return at(endpoint, os.environ.get("AWS_CA_BUNDLE", ""), key, secret,
                  os.environ.get("AWS_SESSION_TOKEN", ""))  # fmt: skip
    return Pointer.load(from_environment(PoolSettings).home.expanduser())


def at(endpoint: str, ca: str, key: str = "", secret: str = "", token: str = "") -> Pointer:
    """A pool by its URL; without a key, for calls that need none."""
    return Pointer(
        endpoint=endpoint.rstrip("/"),
        server_name=urlsplit(endpoint).hostname or "",
        ca=ca,
        access_key_id=key,
        secret_access_key=secret,
        session_token=token,
    )


def unsigned(pointer: Pointer) -> ControlClient:
    """Who calls a pool without credentials."""
    bare = replace(pointer, access_key_id="", secret_access_key="", session_token="")
    return ControlClient(bare, PROBE_TIMEOUT)


def find_pool(settings: PoolSettings) -> ControlClient | None:
    """The pool that there is, if it answers; if it does not, that is said."""
    try:
        return _reach(settings)
    except UnavailableError as error:
        print(f"ei: {error.message} Going on without it.", file=sys.stderr)
        return None


def need_pool(settings: PoolSettings) -> ControlClient:
    """The pool that there is.

    Raises:
        UnavailableError: none runs, or it does not answer.
    """
    pool = _reach(settings)
    if pool is None:
        raise UnavailableError("No pool runs.", next_step="Start one with ei up.")
    return pool


def pool() -> ControlClient:
    """`need_pool` with the settings of the environment."""
    return need_pool(from_environment(PoolSettings))


def own_pool(settings: PoolSettings) -> ControlClient:
    """The pool of this process's instance, with its credentials, where it is in one; else the one
    that there is, or that of this machine where it is registered.

    Raises:
        UnavailableError: there is none, or it does not answer.
        ConfigurationError: the instance has no credentials.
    """
    if os.environ.get("EI_RUN") != "1":
        return _reach(settings) or _of_this_host(settings)
    # The client's package loads NumPy, which commands outside of an instance do without.
    from elastic_inference.client import discovery  # noqa: PLC0415

    client = from_environment(ClientSettings)
    own = discovery.credentials(client)
    pointer = at(
        client.endpoint, client.ca_bundle,
        own.access_key_id, own.secret_access_key, own.session_token,
    )  # fmt: skip
    if client.endpoint_name:
        pointer = replace(pointer, server_name=client.endpoint_name)
    return ControlClient(pointer, settings.start_timeout + PROBE_TIMEOUT)


def _of_this_host(settings: PoolSettings) -> ControlClient:
    from elastic_inference.agent.identity import Identity  # noqa: PLC0415 - few need it

    identity = Identity.load(settings.home.expanduser().absolute())
    if identity is None:
        raise UnavailableError("No pool runs.", next_step="Start one with ei up.")
    answer = ControlClient(identity.pointer, PROBE_TIMEOUT).call("GetInstanceDocument", {})
    given = answer["credentials"]
    if given is None:
        raise ConfigurationError(f"The instance {identity.instance_id} has no credentials.")
    pointer = replace(
        identity.pointer,
        access_key_id=given["accessKeyId"],
        secret_access_key=given["secretAccessKey"],
        session_token=given["sessionToken"],
    )
    return ControlClient(pointer, settings.start_timeout + PROBE_TIMEOUT)


def _reach(settings: PoolSettings) -> ControlClient | None:
    pointer = pointed()
    if pointer is None:
        return None
    try:
        unsigned(pointer).call("DescribePool", {})
    except NotFoundError as error:
        raise UnavailableError(
            f"What answers at {pointer.endpoint} is no pool: {error.message}"
        ) from error
    # Starting accelerators may take as long as they are given.
    return ControlClient(pointer, settings.start_timeout + PROBE_TIMEOUT)
