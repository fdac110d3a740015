"""Write the tables of docs/reference.md that follow from the code: settings, errors, types.

    python docs/generate.py

Run it after a change of one of these; a test fails until it is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from elastic_inference import errors
from elastic_inference.catalog import BUILTIN
from elastic_inference.settings import (
    ClientSettings,
    Limits,
    PoolSettings,
    interval,
    parse_duration,
    parse_size,
)

REFERENCE = Path(__file__).parent / "reference.md"


def _size(value: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value % factor == 0:
            return f"{value // factor} {unit}"
    return f"{value} B"


def _duration(value: float) -> str:
    for unit, factor in (("h", 3600.0), ("min", 60.0)):
        if value >= 2 * factor and value % factor == 0:
            return f"{value / factor:g} {unit}"
    return f"{value:g} s"


def _default(value: Any, parse: Any) -> str:
    if value is None:
        return "unset"
    if value == "":
        return "empty"
    if parse is parse_size:
        return _size(value)
    if parse in {parse_duration, interval}:
        return _duration(value)
    return f"`{value}`"


def settings_table(cls: type) -> str:
    """A row per setting of `cls`: variable, default and meaning."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for item in fields(cls):
        default = _default(item.default, item.metadata["parse"])
        rows.append(f"| `{item.metadata['env']}` | {default} | {item.metadata['help']} |")
    return "\n".join(rows)


def _tree(cls: type[errors.ElasticInferenceError]) -> Iterator[type[errors.ElasticInferenceError]]:
    for sub in cls.__subclasses__():
        # Adapters mix these classes with those of their libraries; such are not of the tree.
        if sub.__module__ == errors.__name__:
            yield sub
            yield from _tree(sub)


def errors_table() -> str:
    """A row per error class: its kind, its EI error code and what it says."""
    rows = ["| class | kind | EI code | says |", "|---|---|---|---|"]
    for cls in _tree(errors.ElasticInferenceError):
        code = str(list(cls.ei_code)) if cls.ei_code else ""
        says = (cls.__doc__ or "").split("\n", 1)[0]
        rows.append(f"| `{cls.__name__}` | `{cls.kind}` | {code} | {says} |")
    return "\n".join(rows)


def types_table() -> str:
    """A row per built-in accelerator type."""
    rows = [
        "| type | other names | memory | TFLOPS, FP32 | TFLOPS, FP16 | US dollars an hour |",
        "|---|---|---|---|---|---|",
    ]
    for entry in BUILTIN:
        aliases = ", ".join(f"`{alias}`" for alias in entry.aliases)
        rows.append(
            f"| `{entry.name}` | {aliases} | {_size(entry.memory_bytes)} "
            f"| {entry.tflops_fp32:g} | {entry.tflops_fp16:g} | {entry.price_per_hour:.2f} |"
        )
    return "\n".join(rows)


def render(text: str) -> str:
    """`text` with what stands between each pair of markers made anew."""
    parts = {
        "client-settings": settings_table(ClientSettings),
        "pool-settings": settings_table(PoolSettings),
        "limits": settings_table(Limits),
        "errors": errors_table(),
        "types": types_table(),
    }
    for name, table in parts.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        found = pattern.findall(text)
        if len(found) != 1:
            raise SystemExit(f"{REFERENCE.name}: expected one pair of markers for {name!r}")
        text = text.replace(found[0], f"{begin}\n{table}\n{end}")
    return text


if __name__ == "__main__":
    REFERENCE.write_text(render(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
