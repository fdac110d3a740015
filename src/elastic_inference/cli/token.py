"""`ei token`: what any client of the Open Inference Protocol needs for an accelerator."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from elastic_inference.cli import arguments
from elastic_inference.cli.connection import own_pool
from elastic_inference.cli.output import local_time
from elastic_inference.control.client import ControlClient
from elastic_inference.errors import InvalidRequestError, NotFoundError
from elastic_inference.settings import PoolSettings, from_environment

_VARIABLES = {
    "url": "EI_URL",
    "grpc_url": "EI_GRPC_URL",
    "token": "EI_TOKEN",
    "ca": "EI_CA",
}


def main(options: argparse.Namespace) -> int:
    asked: dict[str, Any] = {"ownAddress": True}
    if options.expires_in is not None:
        asked["expiresIn"] = arguments.duration(options.expires_in, "--expires-in")
    pool = own_pool(from_environment(PoolSettings))
    asked["acceleratorId"] = options.accelerator or _only_one(pool)
    grant = pool.call("Connect", asked)
    own = _address(grant["ownAddress"])
    shown = {
        "url": f"https://{own}",
        "grpc_url": own,
        "token": grant["token"],
        "ca": pool.pointer.ca,
        "expires": grant["expires"],
        "endpoint": f"https://{_address(grant)}",
        "server_name": grant["serverName"],
    }
    if options.output == "json":
        print(json.dumps(shown, indent=2))
    elif options.output == "shell":
        for name, variable in _VARIABLES.items():
            print(f"export {variable}={shlex.quote(str(shown[name]))}")
    else:
        for name, value in shown.items():
            print(f"{name:<12} {local_time(value) if name == 'expires' else value}")
    return 0


def _only_one(pool: ControlClient) -> str:
    found = list(pool.pages("DescribeAccelerators", "accelerators"))
    if not found:
        raise NotFoundError(
            "There is no accelerator.",
            next_step="Start one with ei run --accelerator TYPE -- COMMAND.",
        )
    if len(found) > 1:
        ids = ", ".join(each["acceleratorId"] for each in found)
        raise InvalidRequestError(
            f"There are {len(found)} accelerators.", next_step=f"Name one of them: {ids}."
        )
    return str(found[0]["acceleratorId"])


def _address(document: dict[str, Any]) -> str:
    host = document["host"]
    return f"[{host}]:{document['port']}" if ":" in host else f"{host}:{document['port']}"
