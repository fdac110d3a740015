"""`ei stop`, `start`, `reboot` and `terminate`."""

from __future__ import annotations

import argparse
import sys

from elastic_inference.cli.connection import pool
from elastic_inference.errors import ElasticInferenceError

_OPERATIONS = {
    "stop": ("StopInstance", "stopping"),
    "start": ("StartInstance", "starting"),
    "reboot": ("RebootInstance", "rebooting"),
    "terminate": ("TerminateInstance", "terminating"),
}


def main(options: argparse.Namespace) -> int:
    operation, doing = _OPERATIONS[options.command]
    client, failures = pool(), []
    for instance_id in dict.fromkeys(options.instances):
        if sys.stderr.isatty():
            print(f"ei: {doing} {instance_id} …", file=sys.stderr)
        try:
            state = client.call(operation, {"instanceId": instance_id})["state"]
        except ElasticInferenceError as error:
            # The others are not to wait for this one to be right.
            print(f"ei: {error}", file=sys.stderr)
            failures.append(error)
        else:
            again = " again" if options.command == "reboot" else ""
            print(f"{instance_id} is {state}{again}", flush=True)
    if not failures:
        return 0
    return 2 if all(each.kind == "invalid-request" for each in failures) else 1
