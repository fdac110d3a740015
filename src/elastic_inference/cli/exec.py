"""`ei exec` and `ei shell`: commands in an instance."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from elastic_inference.agent.identity import Identity
from elastic_inference.cli import arguments, child, host, inside
from elastic_inference.cli.connection import pool
from elastic_inference.cli.environment import bundle_of, environment
from elastic_inference.compute import exec_client
from elastic_inference.compute.base import ExecRequest, Terminal
from elastic_inference.compute.metadata import MetadataService
from elastic_inference.control.client import ControlClient
from elastic_inference.errors import ConflictError, InvalidRequestError, NotFoundError
from elastic_inference.protocol.host import boot_id
from elastic_inference.settings import PoolSettings, from_environment

Document = dict[str, Any]
_LOGIN_SHELL = ("sh", "-c", 'exec "${SHELL:-/bin/sh}" -l')


def main(options: argparse.Namespace) -> int:
    request: Document
    if options.path == "shell":
        request = {"command": list(_LOGIN_SHELL), "environment": {}}
        tty = sys.stdin.isatty()
    else:
        request = {
            "command": list(options.run),
            "environment": arguments.pairs(options.env, "--env"),
            "directory": options.directory,
        }
        tty = options.tty
    ExecRequest.of(request)
    identity = Identity.load(from_environment(PoolSettings).home.expanduser().absolute())
    if identity is not None and identity.instance_id == options.instance:
        # This machine is that instance, and its agent serves what commands need.
        _enter(request)
        return host.main(argparse.Namespace(run=request["command"]))
    client = pool()
    instance = _instance(client, options.instance)
    about = client.call("DescribePool", {})
    if instance["provider"] == "local" and about["isolated"]:
        return _through_the_pool(client, instance["instanceId"], request, tty)
    _check_here(instance, about["bootId"])
    return _here(client, instance["instanceId"], request)


def _instance(client: ControlClient, instance_id: str) -> Document:
    found = client.call("DescribeInstances", {"instanceIds": [instance_id]})["instances"]
    if not found:
        raise NotFoundError(
            f"There is no instance {instance_id[:64]!r}.",
            next_step="ei describe instances lists those there are.",
        )
    instance: Document = found[0]
    if instance["state"] != "running":
        fix = f"Start it (ei start {instance_id})." if instance["state"] == "stopped" else None
        raise ConflictError(
            f"The instance {instance_id} is {instance['state']}; commands run where one runs.",
            next_step=fix or "ei describe instances --watch shows when it does.",
        )
    return instance


def _through_the_pool(client: ControlClient, instance_id: str, request: Document, tty: bool) -> int:
    asked = request | {"instanceId": instance_id}
    if tty:
        terminal = _terminal()
        asked["tty"] = {
            "rows": terminal.rows, "columns": terminal.columns, "term": terminal.term,
        }  # fmt: skip
    with client.converse("Exec", asked) as connection:
        return exec_client.run(connection, tty=tty)


def _terminal() -> Terminal:
    for descriptor in (1, 0, 2):
        if os.isatty(descriptor):
            return exec_client.terminal_of(descriptor)
    return Terminal()


def _check_here(instance: Document, pool_boot_id: str) -> None:
    """Refuse an instance whose commands do not run on this machine."""
    instance_id, provider = instance["instanceId"], instance["provider"]
    if provider == "command":
        raise InvalidRequestError(
            f"The instance {instance_id} is an ei run, which has its one command.",
            next_step="Start one that takes commands (ei launch).",
        )
    there = pool_boot_id if provider == "local" else instance.get("host", {}).get("boot_id", "")
    if there != boot_id():
        where = instance.get("host", {}).get("hostname") or "the pool's machine"
        raise InvalidRequestError(
            f"Commands of the instance {instance_id} run on {where}, as who types them there.",
            next_step="Run ei exec there, or run the pool as root.",
        )


def _here(client: ControlClient, instance_id: str, request: Document) -> int:
    """Run the command as this user, with what leads to the instance's accelerators."""
    _enter(request)
    words = request["command"]
    refused = child.refusal(words[0])
    if refused is not None:
        print(f"ei: {refused[1]}", file=sys.stderr)
        return refused[0]
    source = inside.LastKnown(client.call, instance_id)
    # What is wrong is better told here than by the command's first session.
    source()
    with contextlib.ExitStack() as undo:
        command = child.Child(words)
        undo.callback(command.close)
        child.leave_on_signals()
        undo.callback(_be_undisturbed)
        directory = inside.private_directory(undo)
        metadata = MetadataService(source)
        undo.callback(metadata.close)
        pointer = client.pointer
        bundle = directory / "ca-bundle.pem"
        bundle.write_text(bundle_of(Path(pointer.ca)))
        variables = environment(metadata.url, pointer.endpoint, bundle)
        return command.run(variables)


def _enter(request: Document) -> None:
    """Have this process, and so the command, the environment and directory asked for."""
    os.environ.update(request["environment"])
    if request.get("directory"):
        try:
            os.chdir(request["directory"])
        except OSError as error:
            raise InvalidRequestError(
                f"--directory {request['directory']!r}: {error.strerror}.",
                next_step="Name a directory that is there.",
            ) from error


def _be_undisturbed() -> None:
    """What follows is short, and must not be cut off, or something would stay behind."""
    for number in (signal.SIGINT, *child.ENDS):
        signal.signal(number, signal.SIG_IGN)
