"""`ei detach`: take an accelerator away."""

from __future__ import annotations

import argparse

from elastic_inference.cli.connection import pool


def main(options: argparse.Namespace) -> int:
    gone = pool().call("DetachAccelerator", {"acceleratorId": options.accelerator})
    print(f"{gone['acceleratorId']} is detached from {gone['instanceId']}")
    return 0
