"""`ei token`: what any client of the Open Inference Protocol needs for an accelerator."""

from __future__ import annotations

import argparse
import json

from elastic_inference.cli.connection import need_pool
from elastic_inference.settings import PoolSettings, from_environment


def main(options: argparse.Namespace) -> int:
    pool = need_pool(from_environment(PoolSettings))
    grant = pool.call("Connect", {"acceleratorId": options.accelerator})
    host = f"[{grant['host']}]" if ":" in grant["host"] else grant["host"]
    shown = {
        "url": f"https://{host}:{grant['port']}",
        "token": grant["token"],
        "ca": pool.pointer.ca,
        "server_name": grant["serverName"],
        "expires": grant["expires"],
    }
    if options.output == "json":
        print(json.dumps(shown, indent=2))
    else:
        for name, value in shown.items():
            print(f"{name:<12} {value}")
    return 0
