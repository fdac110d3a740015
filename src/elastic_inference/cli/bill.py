"""`ei bill`: what was used and what it costs."""

from __future__ import annotations

import argparse
import csv
import io
import json
from typing import Any

from elastic_inference.cli import arguments, watch
from elastic_inference.cli.connection import pool
from elastic_inference.cli.output import local_time, table
from elastic_inference.errors import InvalidRequestError

Document = dict[str, Any]
_GROUPS = ("accelerator", "instance", "type")


def main(options: argparse.Namespace) -> int:
    asked = _group(options.by)
    # What is wrong with them is told before a pool is looked for.
    _times(options)
    client = pool()

    def render() -> str:
        answer = client.call("GetBill", asked | _times(options))
        return _shown(options, answer)

    return watch.show(render, watch=options.watch, interval=options.interval)


def _group(by: str) -> Document:
    if by in _GROUPS:
        return {"groupBy": by}
    kind, _, key = by.partition(":")
    if kind != "tag" or not key:
        raise InvalidRequestError(
            f"--by {by[:80]!r}: a bill is by {', '.join(_GROUPS)} or tag:KEY.",
            next_step="Write --by instance or --by tag:team.",
        )
    return {"groupBy": "tag", "tagKey": key}


def _times(options: argparse.Namespace) -> Document:
    begin = arguments.moment(options.begin, "--from")
    end = arguments.moment(options.end, "--to")
    if begin is not None and end is not None and begin > end:
        raise InvalidRequestError("--to is before --from.", next_step="Exchange the two.")
    return {name: value for name, value in (("from", begin), ("to", end)) if value is not None}


def _shown(options: argparse.Namespace, answer: Document) -> str:
    if options.output == "json":
        return json.dumps(answer, indent=None if options.watch else 2)
    if options.output == "csv":
        return _csv(answer)
    what = options.by.partition(":")[2] or options.by.upper()
    rows = [
        (
            row["key"],
            ",".join(row["types"]),
            _length(row["seconds"]),
            f"{row['cost']:.6f}",
            "yes" if row["running"] else "no",
        )
        for row in answer["rows"]
    ]
    total = ("TOTAL", "", _length(answer["totalSeconds"]), f"{answer['totalCost']:.6f}", "")
    begin = "the beginning" if answer["from"] is None else local_time(answer["from"])
    head = f"From {begin} to {local_time(answer['to'])}, in {answer['currency']}"
    return f"{head}\n{table((what, 'TYPES', 'TIME', 'COST', 'RUNNING'), [*rows, total])}"


def _csv(answer: Document) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("key", "types", "seconds", "cost", "running"))
    for row in answer["rows"]:
        writer.writerow(
            (row["key"], " ".join(row["types"]), f"{row['seconds']:.3f}", f"{row['cost']:.9f}",
             "true" if row["running"] else "false")
        )  # fmt: skip
    return text.getvalue().rstrip("\n")


def _length(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours:.0f} h {minutes:.0f} min"
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
