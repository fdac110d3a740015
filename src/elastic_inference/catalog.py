"""Accelerator types: memory, compute and price.

The built-in types are the original's (eia1 and eia2). Users add their own in a TOML file:

    [types."gpu.small"]
    memory_mib = 8192
    tflops_fp32 = 4
    tflops_fp16 = 32
    price_per_hour = 0.40
    aliases = ["small"]

Prices of EC2's instance types are in it too: see `instance_types`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference import instance_types
from elastic_inference.errors import ConfigurationError, InvalidRequestError
from elastic_inference.instance_types import InstanceType

MIB = 1024 * 1024
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}(\.[a-z0-9-]{1,31}){0,2}")
_FIELDS = {"memory_mib", "tflops_fp32", "tflops_fp16", "price_per_hour", "aliases"}


@dataclass(frozen=True, slots=True)
class AcceleratorType:
    """One size of accelerator.

    Attributes:
        name: as users write it, e.g. `eia1.medium`.
        memory_mib: memory of the slice in MiB.
        tflops_fp32, tflops_fp16: compute of the slice, in TFLOPS.
        price_per_hour: in US dollars, billed by the second.
        aliases: other names of the same type.
    """

    name: str
    memory_mib: int
    tflops_fp32: float
    tflops_fp16: float
    price_per_hour: float
    aliases: tuple[str, ...] = ()

    @property
    def memory_bytes(self) -> int:
        return self.memory_mib * MIB


# Prices of eia1 and of eia2.medium are the original's; eia2.large and eia2.xlarge are defaults.
BUILTIN = (
    AcceleratorType("eia1.medium", 1024, 1, 8, 0.13, ("eia.medium",)),
    AcceleratorType("eia1.large", 2048, 2, 16, 0.26, ("eia.large",)),
    AcceleratorType("eia1.xlarge", 4096, 4, 32, 0.52, ("eia.xlarge",)),
    AcceleratorType("eia2.medium", 2048, 1, 8, 0.12),
    AcceleratorType("eia2.large", 4096, 2, 16, 0.24),
    AcceleratorType("eia2.xlarge", 8192, 4, 32, 0.34),
)


class Catalog:
    """The accelerator types of a pool, found by name or alias.

    Attributes:
        instance_types: EC2's types by name.
    """

    def __init__(
        self,
        types: tuple[AcceleratorType, ...] = BUILTIN,
        instances: Mapping[str, InstanceType] | None = None,
    ) -> None:
        self.types = types
        self.instance_types = instances or {each.name: each for each in instance_types.BUILTIN}
        self._by_name: dict[str, AcceleratorType] = {}
        for type_ in types:
            for name in (type_.name, *type_.aliases):
                if name in self._by_name:
                    raise ConfigurationError(f"Accelerator type name {name!r} is defined twice.")
                self._by_name[name] = type_

    def get(self, name: str) -> AcceleratorType:
        """The type of that name or alias.

        Raises:
            InvalidRequestError: there is none; the message lists those that exist.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise InvalidRequestError(
                f"Unknown accelerator type {name[:64]!r}.",
                next_step=f"Known types: {', '.join(type_.name for type_ in self.types)}.",
            ) from None

    @classmethod
    def load(cls, path: Path | None = None) -> Catalog:
        """The built-in types and, where `path` is given, those of that TOML file.

        A type of the file that has a built-in's name replaces it.

        Raises:
            ConfigurationError: the file cannot be read or a type in it is not valid.
        """
        if path is None:
            return cls()
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"Cannot read the catalogue {path}: {error}.") from error
        own = tuple(
            _parse(name, fields, path) for name, fields in document.get("types", {}).items()
        )
        names = {type_.name for type_ in own}
        instances = instance_types.load(document, path)
        return cls(tuple(t for t in BUILTIN if t.name not in names) + own, instances)


def _parse(name: str, fields: Any, path: Path) -> AcceleratorType:
    def wrong(why: str) -> ConfigurationError:
        return ConfigurationError(f"Accelerator type {name!r} in {path}: {why}.")

    if not _NAME.fullmatch(name):
        raise wrong("a name is lower-case words joined by dots")
    if not isinstance(fields, Mapping):
        raise wrong("it must be a table")
    if unknown := set(fields) - _FIELDS:
        raise wrong(f"unknown key {min(unknown)!r}")
    numbers: dict[str, float] = {}
    for key, least in (("memory_mib", 1), ("tflops_fp32", 0), ("tflops_fp16", 0)):
        numbers[key] = _number(fields.get(key), least)
    numbers["price_per_hour"] = _number(fields.get("price_per_hour", 0), 0)
    for key, value in numbers.items():
        if math.isnan(value):
            raise wrong(f"{key} must be a number in range")
    aliases = fields.get("aliases", [])
    if not isinstance(aliases, list) or not all(
        isinstance(alias, str) and _NAME.fullmatch(alias) for alias in aliases
    ):
        raise wrong("aliases must be a list of names")
    return AcceleratorType(
        name,
        int(numbers["memory_mib"]),
        numbers["tflops_fp32"],
        numbers["tflops_fp16"],
        numbers["price_per_hour"],
        tuple(aliases),
    )


def _number(value: object, least: float) -> float:
    """`value` as a float, or NaN where it is not a number from `least` to a million."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if least <= value <= 1_048_576 else math.nan
