"""`ei attach`: one more accelerator."""

from __future__ import annotations

import argparse
import json

from elastic_inference.cli.connection import pool


def main(options: argparse.Namespace) -> int:
    made = pool().call(
        "AttachAccelerator", {"instanceId": options.instance, "acceleratorType": options.type}
    )
    if options.output == "json":
        print(json.dumps(made, indent=2))
    else:
        print(f"{made['acceleratorId']}  {made['acceleratorType']}")
    return 0
