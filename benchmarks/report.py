"""Results as tables, on the terminal and between markers in a Markdown file."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """One table of results.

    Attributes:
        title: one line; what is compared with what.
        columns: their headings.
        rows: as many cells each; numbers are formatted here.
        note: what the reader should know, or "".
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    def markdown(self) -> str:
        lines = [f"**{self.title}**", "", "| " + " | ".join(self.columns) + " |"]
        lines.append("|" + "---|" * len(self.columns))
        lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in self.rows]
        if self.note:
            lines += ["", self.note]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def cell(value: Any) -> str:
    """A table's cell: numbers with three significant digits, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def verdict(value: float, bar: float | None) -> str:
    """How a figure stands against its bar; the lower figure is the better one."""
    if bar is None:
        return "-"
    return f"{bar:g}: {'reached' if value <= bar else 'missed'}"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "onnxruntime": _first_version("onnxruntime", "onnxruntime-gpu"),
        "numpy": version("numpy"),
        "elastic_inference": version("elastic-inference"),
    }


def _first_version(*names: str) -> str:
    """The version of the first distribution of `names` that is installed."""
    for name in names:
        with suppress(PackageNotFoundError):
            return version(name)
    return "none"


def write(path: Path, machine: Mapping[str, Any], results: Mapping[str, list[Table]]) -> None:
    """Put each section's tables between its markers in `path`; other sections stay.

    A file that is not there is made, with the markers of these sections.
    """
    if path.exists():
        text = path.read_text(encoding="utf-8")
    else:
        text = "\n\n".join("\n".join(_markers(name)) for name in results) + "\n"
    about = ", ".join(f"{name} {value}" for name, value in machine.items())
    for name, tables in results.items():
        body = "\n\n".join(table.markdown() for table in tables)
        text = _replace(text, name, f"{body}\n\nMeasured on: {about}.")
    path.write_text(text, encoding="utf-8")


def _replace(text: str, name: str, body: str) -> str:
    begin, end = _markers(name)
    found = re.findall(re.escape(begin) + ".*?" + re.escape(end), text, re.DOTALL)
    if len(found) != 1:
        raise SystemExit(f"There must be one pair of markers for {name!r} in the document.")
    return text.replace(found[0], f"{begin}\n{body}\n{end}")


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"
