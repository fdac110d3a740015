"""`ei join-token`: what lets another machine be an instance of this pool."""

from __future__ import annotations

import argparse
import ipaddress
import json
import shlex
import sys
from typing import Any
from urllib.parse import urlsplit

from elastic_inference.cli import arguments
from elastic_inference.cli.connection import pool
from elastic_inference.cli.output import local_time


def main(options: argparse.Namespace) -> int:
    asked: dict[str, Any] = {
        "expiresIn": arguments.duration(options.expires_in, "--expires-in"),
        "acceleratorTypes": arguments.types(options.accelerator),
        "name": options.name,
        "roleName": options.role,
        "subnetId": options.subnet,
        "securityGroupIds": options.group,
        "tags": arguments.pairs(options.tag, "--tag"),
    }
    answer = pool().call("CreateJoinToken", {name: each for name, each in asked.items() if each})
    endpoint = str(answer["endpoint"])
    command = shlex.join(["ei", "register", endpoint, "--token", answer["joinToken"]])
    if options.output == "json":
        print(json.dumps(answer | {"command": command}, indent=2))
    elif options.output == "id":
        print(answer["joinToken"])
    else:
        print(f"Run this on the other machine, once, before {local_time(answer['expires'])}:")
        print()
        print(f"  {command}")
        print()
    if _is_loopback(urlsplit(endpoint).hostname or ""):
        print(
            f"ei: the pool listens on {endpoint}, which no other machine reaches. Start it with"
            " ei up --listen HOST:PORT, an address of this machine.",
            file=sys.stderr,
        )
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
