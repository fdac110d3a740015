"""`ei validate`: what an instance needs, and what of it is missing."""

from __future__ import annotations

import argparse
import json
from typing import Any

from elastic_inference.cli.connection import own_pool
from elastic_inference.control.client import ControlClient
from elastic_inference.errors import AccessDeniedError, InvalidRequestError
from elastic_inference.settings import PoolSettings, from_environment

Document = dict[str, Any]


def main(options: argparse.Namespace) -> int:
    client = own_pool(from_environment(PoolSettings))
    ids = [options.instance] if options.instance else _own(client) or _running(client)
    found = {each: client.call("ValidateInstance", {"instanceId": each})["checks"] for each in ids}
    if options.output == "json":
        instances = [{"instanceId": each, "checks": checks} for each, checks in found.items()]
        print(json.dumps({"instances": instances}, indent=2))
    elif not found:
        print("No instance runs: there is nothing to check.")
    else:
        print("\n".join(_shown(each, checks) for each, checks in found.items()))
    return 0 if all(check["ok"] for checks in found.values() for check in checks) else 1


def _own(client: ControlClient) -> list[str]:
    """The instance whose credentials these are."""
    try:
        return [client.call("GetInstanceDocument", {})["instanceId"]]
    except (InvalidRequestError, AccessDeniedError):
        return []


def _running(client: ControlClient) -> list[str]:
    found = client.pages("DescribeInstances", "instances", {"states": ["running"]})
    return [each["instanceId"] for each in found]


def _shown(instance_id: str, checks: list[Document]) -> str:
    lines = [instance_id]
    for check in checks:
        mark = "ok   " if check["ok"] else "WRONG"
        lines.append(f"  {mark}  {check['name']}: {check['message']}")
        if check["fix"]:
            lines.append(f"         fix: {check['fix']}")
    return "\n".join(lines)
