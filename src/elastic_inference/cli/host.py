"""`ei run -- COMMAND` on a registered host: COMMAND as the instance that this host is."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from elastic_inference.agent.identity import Identity, directory, write_private
from elastic_inference.cli import child
from elastic_inference.cli.environment import bundle_of, environment
from elastic_inference.errors import InvalidRequestError, UnavailableError
from elastic_inference.settings import ClientSettings, PoolSettings, from_environment

_TIMEOUT = 5.0


def main(options: argparse.Namespace) -> int:
    """Run the command; its exit status.

    Raises:
        InvalidRequestError: this host is not registered.
        UnavailableError: its agent does not run.
    """
    home = from_environment(PoolSettings).home.expanduser().absolute()
    # The command inherits these; a mistake is better told here than by its first session.
    from_environment(ClientSettings)
    identity = Identity.load(home)
    if identity is None:
        raise InvalidRequestError(
            "ei run needs --accelerator TYPE, since this host is not registered with a pool.",
            next_step="ei describe types lists them; ei register --help tells how to register.",
        )
    refused = child.refusal(options.run[0])
    if refused is not None:
        print(f"ei: {refused[1]}", file=sys.stderr)
        return refused[0]
    _check_agent(identity)
    command = child.Child(options.run)
    try:
        return command.run(_environment(identity, home))
    finally:
        command.close()


def _environment(identity: Identity, home: Path) -> dict[str, str]:
    given = environment(identity.metadata_url, identity.endpoint, _bundle(identity, home))
    if identity.server_name != urlsplit(identity.endpoint).hostname:
        given["EI_ENDPOINT_NAME"] = identity.server_name
    return given


def _bundle(identity: Identity, home: Path) -> Path:
    """A file that stays, since the command may leave others behind that go on."""
    own = os.environ.get("AWS_CA_BUNDLE", "")
    suffix = f"-{hashlib.sha256(own.encode()).hexdigest()[:16]}" if own else ""
    path = directory(home) / f"ca-bundle{suffix}.pem"
    write_private(path, bundle_of(Path(identity.ca)))
    return path


def _check_agent(identity: Identity) -> None:
    parts = urlsplit(identity.metadata_url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=_TIMEOUT
    )
    try:
        connection.request("GET", f"{parts.path}/latest/meta-data/instance-id")
        response = connection.getresponse()
        found = response.read(64).decode("ascii", "replace")
        if response.status == http.client.NOT_FOUND:
            raise UnavailableError(
                f"The agent of {identity.instance_id} has not heard from the pool at"
                f" {identity.endpoint} yet.",
                next_step="See its log, and whether the pool runs there.",
            )
        if found == identity.instance_id:
            return
    except (OSError, ValueError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    raise UnavailableError(
        f"The agent of this host, {identity.instance_id}, does not run.",
        next_step="Start it: ei register --detach, or as a service.",
    )
