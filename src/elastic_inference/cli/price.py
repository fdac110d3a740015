"""`ei price`: what accelerator types cost."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from elastic_inference.cli import arguments
from elastic_inference.cli.connection import pool
from elastic_inference.cli.output import local_time, table
from elastic_inference.errors import InvalidRequestError


def main(options: argparse.Namespace) -> int:
    return _set(options) if options.action == "set" else _list(options)


def _list(options: argparse.Namespace) -> int:
    answer = pool().call("DescribePrices", {})
    if options.output == "json":
        print(json.dumps(answer, indent=2))
        return 0
    rows = sorted(answer["prices"], key=lambda row: (row["acceleratorType"], _since(row)))
    print(
        table(
            ("TYPE", "$/HOUR", "SINCE"),
            [
                (
                    row["acceleratorType"],
                    f"{row['pricePerHour']:g}",
                    "(catalogue)"
                    if row["effectiveFrom"] is None
                    else local_time(row["effectiveFrom"]),
                )
                for row in rows
            ],
        )
    )
    return 0


def _since(row: dict[str, Any]) -> float:
    since = row["effectiveFrom"]
    return -math.inf if since is None else float(since)


def _set(options: argparse.Namespace) -> int:
    if not (math.isfinite(options.price) and options.price >= 0):
        raise InvalidRequestError(
            f"{options.price:g} is no price.", next_step="Give US dollars per hour, as 0.13."
        )
    asked = {"acceleratorType": options.type, "pricePerHour": options.price}
    begin = arguments.moment(options.begin, "--from")
    answer = pool().call("SetPrice", asked | ({} if begin is None else {"effectiveFrom": begin}))
    print(
        f"{answer['acceleratorType']} costs ${answer['pricePerHour']:g} an hour"
        f" from {local_time(answer['effectiveFrom'])} on"
    )
    return 0
