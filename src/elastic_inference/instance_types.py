"""EC2's instance types that a pool knows: what they have, and what they cost on AWS.

Here a type is a name and a price: an instance has the cores and the memory of its machine. The
prices are those of us-east-1 for Linux on demand; a catalogue file changes them or adds types:

    [instance_types."m5.large"]
    price_per_hour = 0.107

    [instance_types."m7i.large"]
    vcpus = 2
    memory_mib = 8192
    price_per_hour = 0.1008
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError

_NAME = re.compile(r"[a-z][a-z0-9-]{1,15}\.[a-z0-9-]{2,15}")
_GIB = 1024
# The least that each may be.
_FIELDS = {"vcpus": 1, "memory_mib": 1, "price_per_hour": 0}


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPUs of an instance type: `count` of a model with `memory_mib` each."""

    name: str
    count: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One size of instance.

    Attributes:
        price_per_hour: in US dollars.
        cores: of which `vcpus` are the threads.
        gpu: what a pool's instances have not.
    """

    name: str
    vcpus: int
    memory_mib: int
    price_per_hour: float
    cores: int = 0
    gpu: Gpu | None = None

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]


def _family(
    name: str, *sizes: tuple[str, int, float, float], threads: int = 2
) -> list[InstanceType]:
    return [
        InstanceType(
            f"{name}.{size}", vcpus, int(gib * _GIB), price, cores=max(1, vcpus // threads)
        )
        for size, vcpus, gib, price in sizes
    ]


_K80, _V100, _T4 = Gpu("K80", 1, 12288), Gpu("V100", 1, 16384), Gpu("T4", 1, 16384)
BUILTIN = (
    *_family("t2", ("micro", 1, 1, 0.0116), ("small", 1, 2, 0.023), ("medium", 2, 4, 0.0464),
             ("large", 2, 8, 0.0928), ("xlarge", 4, 16, 0.1856), threads=1),
    *_family("t3", ("micro", 2, 1, 0.0104), ("small", 2, 2, 0.0208), ("medium", 2, 4, 0.0416),
             ("large", 2, 8, 0.0832), ("xlarge", 4, 16, 0.1664)),
    *_family("m4", ("large", 2, 8, 0.10), ("xlarge", 4, 16, 0.20), ("2xlarge", 8, 32, 0.40)),
    *_family("m5", ("large", 2, 8, 0.096), ("xlarge", 4, 16, 0.192), ("2xlarge", 8, 32, 0.384),
             ("4xlarge", 16, 64, 0.768), ("8xlarge", 32, 128, 1.536),
             ("12xlarge", 48, 192, 2.304), ("24xlarge", 96, 384, 4.608)),
    *_family("c4", ("large", 2, 3.75, 0.10), ("xlarge", 4, 7.5, 0.199),
             ("2xlarge", 8, 15, 0.398)),
    *_family("c5", ("large", 2, 4, 0.085), ("xlarge", 4, 8, 0.17), ("2xlarge", 8, 16, 0.34),
             ("4xlarge", 16, 32, 0.68), ("9xlarge", 36, 72, 1.53), ("18xlarge", 72, 144, 3.06)),
    *_family("r4", ("large", 2, 15.25, 0.133), ("xlarge", 4, 30.5, 0.266)),
    *_family("r5", ("large", 2, 16, 0.126), ("xlarge", 4, 32, 0.252), ("2xlarge", 8, 64, 0.504)),
    InstanceType("p2.xlarge", 4, 62464, 0.90, 2, _K80),
    InstanceType("p3.2xlarge", 8, 62464, 3.06, 4, _V100),
    InstanceType("g4dn.xlarge", 4, 16384, 0.526, 2, _T4),
)  # fmt: skip


def load(document: Mapping[str, Any], path: Path) -> dict[str, InstanceType]:
    """The built-in types with those of a catalogue file, by name.

    Raises:
        ConfigurationError: a type in the file is not valid.
    """
    types = {each.name: each for each in BUILTIN}
    for name, fields in document.get("instance_types", {}).items():
        types[name] = _parse(name, fields, types.get(name), path)
    return types


def _parse(name: str, fields: Any, known: InstanceType | None, path: Path) -> InstanceType:
    def wrong(why: str) -> ConfigurationError:
        return ConfigurationError(f"Instance type {name!r} in {path}: {why}.")

    if not _NAME.fullmatch(name):
        raise wrong("a name is a family, a dot and a size")
    if not isinstance(fields, Mapping):
        raise wrong("it must be a table")
    if unknown := set(fields) - set(_FIELDS):
        raise wrong(f"unknown key {min(unknown)!r}")
    for key, least in _FIELDS.items():
        if key in fields and not _is_number(fields[key], least):
            raise wrong(f"{key} must be a number in range")
        if key not in fields and known is None:
            raise wrong(f"{key} is missing")
    values: dict[str, Any] = {
        key: float(value) if key == "price_per_hour" else int(value)
        for key, value in fields.items()
    }
    if "vcpus" in values:
        values["cores"] = max(1, values["vcpus"] // 2)
    return replace(known, **values) if known is not None else InstanceType(name, **values)


def _is_number(value: object, least: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and least <= value <= 2**31
