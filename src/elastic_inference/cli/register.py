"""`ei register`: this machine as an instance of a pool elsewhere."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from elastic_inference.agent import joining, lock
from elastic_inference.agent.agent import serve
from elastic_inference.agent.identity import Identity, directory
from elastic_inference.control.client import ControlClient
from elastic_inference.errors import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.protocol.sigv4 import UNKNOWN_KEY
from elastic_inference.settings import PoolSettings, from_environment

_LOG = "agent.log"
_TIMEOUT = 10.0
_READY = b"\1"


def main(options: argparse.Namespace) -> int:
    settings = from_environment(PoolSettings)
    home = settings.home.expanduser().absolute()
    if options.forget:
        return _forget(home)
    held = lock.take(directory(home))
    try:
        identity = _identity(options, home, settings.start_timeout + _TIMEOUT)
        if options.detach:
            return _detach(identity, home, held, link_local=options.link_local)
        return _serve(identity, home, held, options.link_local, _say)
    finally:
        os.close(held)


def _identity(options: argparse.Namespace, home: Path, timeout: float) -> Identity:
    known = Identity.load(home)
    endpoint = options.endpoint and joining.normal_endpoint(options.endpoint)
    if options.token is None:
        if known is None:
            raise InvalidRequestError(
                "This host is not registered.",
                next_step="Make a token where the pool runs (ei join-token), and give it:"
                " ei register ENDPOINT --token TOKEN.",
            )
        return joining.moved(known, endpoint) if endpoint else known
    if known is not None:
        raise ConflictError(
            f"This host is {known.instance_id} of {known.endpoint} already.",
            next_step="Start it without --token, or give that up first (ei register --forget).",
        )
    if not endpoint:
        raise InvalidRequestError(
            "--token needs an ENDPOINT.", next_step="ei register https://HOST:PORT --token TOKEN."
        )
    text = sys.stdin.readline() if options.token == "-" else options.token  # noqa: S105 - no token
    return joining.join(home, endpoint, joining.JoinToken.parse(text), options.name, timeout)


def _serve(
    identity: Identity, home: Path, held: int, link_local: bool, ready: Callable[[Identity], None]
) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    lock.sign(held)
    if serve(identity, home, link_local=link_local, ready=ready):
        return 0
    raise NotFoundError(
        f"The pool at {identity.endpoint} has no instance {identity.instance_id} any more.",
        next_step="To register anew: ei register --forget, and then with a new token.",
    )


def _say(identity: Identity) -> None:
    print(f"This host is {identity.instance_id} of {identity.endpoint}.", file=sys.stderr)
    print(f"  metadata  {identity.metadata_url}", file=sys.stderr)
    print("Ready. ei run -- COMMAND uses its accelerators; Ctrl-C stops the agent.",
          file=sys.stderr)  # fmt: skip


def _detach(identity: Identity, home: Path, held: int, *, link_local: bool) -> int:
    """Be the agent in a process of its own; this one returns once that serves."""
    log = directory(home) / _LOG
    readable, writable = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        _leave_terminal(log)
        return _serve(identity, home, held, link_local, lambda now: _tell(writable, now))
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        if pipe.read(1) == _READY:
            print(f"This host is {identity.instance_id} of {identity.endpoint}.", file=sys.stderr)
            print(f"  agent     process {pid}, log {log}", file=sys.stderr)
            return 0
    os.waitpid(pid, 0)
    raise UnavailableError(f"The agent ended: {_last_line(log)}", next_step=f"See {log}.")


def _leave_terminal(log: Path) -> None:
    os.setsid()
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nowhere, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    os.close(nowhere)
    os.close(output)


def _tell(writable: int, identity: Identity) -> None:
    _say(identity)
    os.write(writable, _READY)
    os.close(writable)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return (lines or ["it said nothing."])[-1].removeprefix("ei: ")


def _forget(home: Path) -> int:
    identity = Identity.load(home)
    if identity is None:
        print("ei: this host is not registered.", file=sys.stderr)
        return 0
    try:
        ControlClient(identity.pointer, _TIMEOUT).call(
            "TerminateInstance", {"instanceId": identity.instance_id}
        )
    except NotFoundError:
        pass
    except AuthenticationError as error:
        if UNKNOWN_KEY not in error.message:
            raise
    except UnavailableError as error:
        raise UnavailableError(
            f"{error.message} {identity.instance_id} was not ended, and this host stays that.",
            next_step="Try again when the pool is there. If it never will be, remove"
            f" {home / 'host.json'}.",
        ) from error
    # Ending accelerators may have taken a while; by now the agent may have heard of it.
    lock.end_agent(directory(home), _TIMEOUT)
    Identity.remove(home)
    print(f"ei: {identity.instance_id} is terminated; this host is not registered any more.",
          file=sys.stderr)  # fmt: skip
    return 0
