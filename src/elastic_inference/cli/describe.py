"""`ei describe`: accelerators, types, instances, nodes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elastic_inference.catalog import Catalog
from elastic_inference.cli import watch
from elastic_inference.cli.connection import find_pool, need_pool
from elastic_inference.cli.output import local_time, mebibytes, table
from elastic_inference.control.client import ControlClient
from elastic_inference.control.documents import Document as Row
from elastic_inference.control.documents import describe_type
from elastic_inference.errors import InvalidRequestError
from elastic_inference.settings import PoolSettings, from_environment

_KEYS = {
    "accelerators": "accelerators",
    "instances": "instances",
    "types": "acceleratorTypes",
    "nodes": "nodes",
}
_STATES: Mapping[str, Sequence[str]] = {
    "accelerators": ("ok", "impaired", "unknown"),
    "instances": ("pending", "running", "stopping", "stopped", "shutting-down", "terminated"),
}


def main(options: argparse.Namespace) -> int:
    settings = from_environment(PoolSettings)
    _check(options)
    pool = find_pool(settings)
    if pool is None:
        what = options.what
        answer: Row = {_KEYS[what]: _own_types(settings) if what == "types" else []}
        print(_shown(options, answer))
        if what != "types":
            print("ei: no pool runs; ei up starts one.", file=sys.stderr)
        return 0
    return watch.show(
        lambda: _shown(options, _ask(pool if not options.watch else need_pool(settings), options)),
        watch=options.watch,
        interval=options.interval,
    )


def _check(options: argparse.Namespace) -> None:
    known = _STATES.get(options.what)
    for name in ("instance", "state"):
        if getattr(options, name) is not None and known is None:
            raise InvalidRequestError(
                f"--{name} is for accelerators and instances, not for {options.what}."
            )
    if options.state is not None and known and options.state not in known:
        raise InvalidRequestError(
            f"--state {options.state[:64]!r} is no state of {options.what}.",
            next_step=f"There are {', '.join(known)}.",
        )


def _ask(pool: ControlClient, options: argparse.Namespace) -> Row:
    if options.what == "types":
        return pool.call("DescribeAcceleratorTypes", {})
    if options.what == "nodes":
        return pool.call("DescribeNodes", {})
    if options.what == "instances":
        asked: Row = {} if options.instance is None else {"instanceIds": [options.instance]}
        if options.state is not None:
            asked["states"] = [options.state]
        return {"instances": list(pool.pages("DescribeInstances", "instances", asked))}
    asked = {} if options.instance is None else {"instanceId": options.instance}
    return {
        "accelerators": [
            each
            for each in pool.pages("DescribeAccelerators", "accelerators", asked)
            if options.state in {None, each["health"]}
        ]
    }


def _shown(options: argparse.Namespace, answer: Row) -> str:
    if options.output == "json":
        return json.dumps(answer, indent=None if options.watch else 2)
    return _TABLES[options.what](answer)


def _own_types(settings: PoolSettings) -> list[Row]:
    return [describe_type(each) for each in Catalog.load(settings.catalog).types]


def _accelerator_table(answer: Row) -> str:
    return table(
        ("ACCELERATOR", "TYPE", "HEALTH", "INSTANCE", "MEMORY MIB", "DEVICE", "NODE", "STARTED",
         "RESTARTS", "$/HOUR", "ASSOCIATION", "REASON"),
        [
            (
                row["acceleratorId"],
                row["acceleratorType"],
                row["health"],
                row["instanceId"],
                f"{mebibytes(row['memoryUsed'])}/{mebibytes(row['memoryLimit'])}",
                row["device"],
                row["node"],
                local_time(row["startedAt"]),
                str(row["restarts"]),
                f"{row['pricePerHour']:.2f}",
                row["associationState"],
                row["healthReason"] or "-",
            )
            for row in answer["accelerators"]
        ],
    )  # fmt: skip


def _instance_table(answer: Row) -> str:
    return table(
        ("INSTANCE", "NAME", "STATE", "PROVIDER", "TYPES", "ACCELERATORS", "LAUNCHED", "LAST SEEN",
         "REASON"),
        [
            (
                row["instanceId"],
                row["name"] or "-",
                row["state"],
                row["provider"],
                ",".join(row["acceleratorTypes"]) or "-",
                ",".join(row["acceleratorIds"]) or "-",
                local_time(row["launchTime"]),
                local_time(row["lastSeen"]) if row["lastSeen"] else "-",
                row["stateReason"] or "-",
            )
            for row in answer["instances"]
        ],
    )  # fmt: skip


def _type_table(answer: Row) -> str:
    shown = table(
        ("TYPE", "MEMORY MIB", "TFLOPS FP32", "TFLOPS FP16", "$/HOUR", "ALIASES"),
        [
            (
                row["acceleratorTypeName"],
                str(row["memoryMiB"]),
                f"{row['tflopsFp32']:g}",
                f"{row['tflopsFp16']:g}",
                f"{row['pricePerHour']:.2f}",
                ",".join(row["aliases"]) or "-",
            )
            for row in answer["acceleratorTypes"]
        ],
    )
    if not answer.get("bestEffort"):
        return shown
    return (
        f"{shown}\nBest effort: this pool has processors only. Its TFLOPS are virtual, shares of"
        f" the {answer['virtualTflops']:g} that it declares."
    )


def _node_table(answer: Row) -> str:
    nodes = answer["nodes"]
    shown = table(
        ("NODE", "DEVICE", "NAME", "MEMORY MIB FREE", "TFLOPS FREE", "MEASURED", "BEST EFFORT"),
        [
            (
                node["node"],
                device["device"],
                device["name"],
                f"{device['memoryFreeMiB']}/{device['memoryMiB']}",
                f"{device['tflopsFree']:g}/{device['tflops']:g}",
                _measured(device["measuredTflops"]),
                "yes" if node["bestEffort"] else "no",
            )
            for node in nodes
            for device in node["devices"]
        ],
    )
    if not any(node["bestEffort"] for node in nodes):
        return shown
    return f"{shown}\nBest effort: TFLOPS of a processor are virtual; MEASURED is what it can do."


def _measured(tflops: Any) -> str:
    return "-" if not tflops else f"{tflops:.2f}"


_TABLES: Mapping[str, Callable[[Row], str]] = {
    "accelerators": _accelerator_table,
    "instances": _instance_table,
    "types": _type_table,
    "nodes": _node_table,
}
