"""`ei launch`: an instance that stays."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from elastic_inference.cli import arguments
from elastic_inference.cli.connection import pool


def main(options: argparse.Namespace) -> int:
    asked: dict[str, Any] = {
        "acceleratorTypes": arguments.types(options.accelerator),
        "name": options.name,
        "roleName": options.role,
        "subnetId": options.subnet,
        "securityGroupIds": options.group,
        "clientToken": options.client_token,
        "tags": arguments.pairs(options.tag, "--tag"),
        "userData": options.user_data and arguments.content(options.user_data, "--user-data"),
    }
    answer = pool().call("RunInstance", {name: each for name, each in asked.items() if each})
    for note in answer["notes"]:
        print(f"ei: {note}", file=sys.stderr)
    if options.output == "json":
        # Its credentials are for the instance, which gets them from its metadata service.
        answer.pop("credentials", None)
        print(json.dumps(answer, indent=2))
        return 0
    print(answer["instanceId"])
    if options.output == "table":
        print(f"  {answer['state']}")
        for each in answer["accelerators"]:
            print(f"  {each['acceleratorId']}  {each['acceleratorType']}")
    return 0
