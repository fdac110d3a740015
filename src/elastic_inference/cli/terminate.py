"""`ei terminate`: end an instance."""

from __future__ import annotations

import argparse

from elastic_inference.cli.connection import need_pool
from elastic_inference.settings import PoolSettings, from_environment


def main(options: argparse.Namespace) -> int:
    pool = need_pool(from_environment(PoolSettings))
    pool.call("TerminateInstance", {"instanceId": options.instance})
    print(f"{options.instance} is terminated")
    return 0
