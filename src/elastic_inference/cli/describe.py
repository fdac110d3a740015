"""`ei describe`: accelerators, types, instances."""

from __future__ import annotations

import argparse
import json
import sys

from elastic_inference.catalog import Catalog
from elastic_inference.cli.connection import find_pool
from elastic_inference.cli.output import local_time, mebibytes, table
from elastic_inference.control.documents import Document as Row
from elastic_inference.control.documents import describe_type
from elastic_inference.settings import PoolSettings, from_environment

_OPERATIONS = {
    "accelerators": ("DescribeAccelerators", "accelerators"),
    "instances": ("DescribeInstances", "instances"),
    "types": ("DescribeAcceleratorTypes", "acceleratorTypes"),
}


def main(options: argparse.Namespace) -> int:
    settings = from_environment(PoolSettings)
    operation, key = _OPERATIONS[options.what]
    pool = find_pool(settings)
    if pool is not None:
        rows: list[Row] = pool.call(operation, {})[key]
    else:
        rows = _own_types(settings) if options.what == "types" else []
    if options.output == "json":
        print(json.dumps({key: rows}, indent=2))
    elif options.what == "accelerators":
        print(_accelerator_table(rows))
    elif options.what == "instances":
        print(_instance_table(rows))
    else:
        print(_type_table(rows))
    if pool is None and options.what != "types":
        print("ei: no pool runs; ei up starts one.", file=sys.stderr)
    return 0


def _own_types(settings: PoolSettings) -> list[Row]:
    return [describe_type(each) for each in Catalog.load(settings.catalog).types]


def _accelerator_table(rows: list[Row]) -> str:
    return table(
        ("ACCELERATOR", "TYPE", "HEALTH", "INSTANCE", "MEMORY MIB", "DEVICE", "NODE", "STARTED",
         "RESTARTS"),
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
            )
            for row in rows
        ],
    )  # fmt: skip


def _instance_table(rows: list[Row]) -> str:
    return table(
        ("INSTANCE", "NAME", "STATE", "TYPES", "ACCELERATORS", "LAUNCHED"),
        [
            (
                row["instanceId"],
                row["name"] or "-",
                row["state"],
                ",".join(row["acceleratorTypes"]),
                ",".join(row["acceleratorIds"]) or "-",
                local_time(row["launchTime"]),
            )
            for row in rows
        ],
    )


def _type_table(rows: list[Row]) -> str:
    return table(
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
            for row in rows
        ],
    )
