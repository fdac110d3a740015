"""Which versions of a model lie on disk, whether they are whole, and which are to be served."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.frameworks.tensorflow.signatures import SAVED_MODEL
from elastic_inference.serving.config import ALL, SPECIFIC, VersionPolicy

_LARGEST = 2**63 - 1
_NUMBER = re.compile(r"[0-9]{1,19}")
_SHARD = re.compile(r"(.+\.data)-[0-9]{5}-of-([0-9]{5})")
# A folder in which something changed less long ago may still be written to.
SETTLE = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Folder:
    """A version's folder.

    Attributes:
        mark: changes with the names, sizes and times of its files.
        lacks: why it is not whole, or "".
        changed: when something in it changed last, in seconds of `time.time`.
    """

    path: Path
    mark: int
    lacks: str
    changed: float

    def is_settled(self, now: float) -> bool:
        """Whether nothing changed for so long that nothing will."""
        # A clock of another machine may be ahead.
        return not 0 <= now - self.changed < SETTLE


def find(base: Path) -> tuple[dict[int, Path], list[str]]:
    """Folders of versions by number, and what is odd about them.

    Raises:
        OSError: the base path cannot be read.
    """
    found: dict[int, Path] = {}
    odd = []
    with os.scandir(base) as entries:
        names = sorted(entry.name for entry in entries if _NUMBER.fullmatch(entry.name))
    for name in names:
        number = int(name)
        if number > _LARGEST or not (base / name).is_dir():
            continue
        if number in found:
            odd.append(
                f"Duplicate version directories detected. Version {number} will be loaded from "
                f"{name}, {found[number].name} will be ignored."
            )
        found[number] = base / name
    return found, odd


def look(path: Path) -> Folder:
    """What is in a version's folder now."""
    seen: list[tuple[str, int, int]] = []
    changed = 0.0
    for name, status in _walk(path, ""):
        changed = max(changed, status.st_ctime)
        seen.append((name, status.st_size, status.st_mtime_ns))
    return Folder(path, hash(tuple(sorted(seen))), _lacks({name for name, _, _ in seen}), changed)


def _walk(path: Path, name: str) -> Iterator[tuple[str, os.stat_result]]:
    """All that is in a folder, and it itself; a folder's name ends with a slash."""
    try:
        yield name, path.stat()
        children = sorted(path.iterdir()) if not name or name[-1] == "/" else ()
    except OSError:
        # It went away in between, or is a link to nothing: what is seen next time counts.
        return
    for child in children:
        yield from _walk(child, f"{name}{child.name}{'/' if child.is_dir() else ''}")


def _lacks(names: Collection[str]) -> str:
    if SAVED_MODEL not in names:
        return f"it has no {SAVED_MODEL} yet"
    variables = {name for name in names if name.startswith("variables/") and name[-1] != "/"}
    shards = [match for name in variables if (match := _SHARD.fullmatch(name))]
    for match in shards:
        count = int(match[2])
        have = sum(1 for other in shards if (other[1], other[2]) == (match[1], match[2]))
        if have < count:
            return f"it has {have} of {count} files of variables yet"
    if variables and "variables/variables.index" not in variables:
        return "it has no variables/variables.index yet"
    return ""


def choose(policy: VersionPolicy, numbers: Collection[int]) -> set[int]:
    """Those of the versions that are to be served."""
    if policy.kind == SPECIFIC:
        return set(numbers) & set(policy.versions)
    if policy.kind == ALL:
        return set(numbers)
    return set(sorted(numbers)[-max(policy.count, 1) :])


def now() -> float:
    """The time by which folders are settled."""
    return time.time()
