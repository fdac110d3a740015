"""Hashes of files that were hashed before, by this process or another one of this user.

A file is known by what changes when it does, above all the time of its last change of any kind
(ctime), which the kernel alone sets. A file that was changed just before it was hashed is not
remembered: another change could come so soon that no time shows it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Identity: TypeAlias = tuple[str, int, int, int, int, int]

# How much older than its hash the last change of a file must be.
_SETTLED_NS = 2_000_000_000
_MAX_REMEMBERED = 64
# Hashing less than this takes no longer than looking it up.
_LEAST_ON_DISK = 1024 * 1024
_MAX_ENTRIES = 1024
_LARGEST_ENTRY = 256 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileHash:
    """What a scan of a model's file finds.

    Attributes:
        sha256: of its bytes, hexadecimal.
        locations: what looks like names of external data in it.
    """

    sha256: str
    locations: frozenset[str]


_remembered: dict[Identity, FileHash] = {}


def identity(path: str, status: os.stat_result) -> Identity:
    """What tells the file apart from others, and from itself after any change."""
    return (
        path,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def recall(file: Identity) -> FileHash | None:
    """What was remembered of the file, if anything."""
    found = _remembered.get(file)
    if found is None and file[3] >= _LEAST_ON_DISK:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RuntimeError):
            found = _read(file)
        if found is not None:
            _keep(file, found)
    return found


def remember(file: Identity, found: FileHash, *, began_ns: int) -> None:
    """Remember what a scan found that began at `began_ns` (`time.time_ns`)."""
    _, _, _, size, *changed = file
    if began_ns - max(changed) <= _SETTLED_NS:
        return
    _keep(file, found)
    if size >= _LEAST_ON_DISK:
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            _write(file, found)


def _keep(file: Identity, found: FileHash) -> None:
    if len(_remembered) >= _MAX_REMEMBERED:
        _remembered.clear()
    _remembered[file] = found


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The standard has relative paths ignored.
    parent = Path(base) if base.startswith("/") else Path("~/.cache").expanduser()
    return parent / "elastic-inference" / "hashes"


def _is_private(folder: Path) -> bool:
    """Whether nobody else can have written what lies in `folder`."""
    seen = folder.lstat()
    own = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()
    return own and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _entry(folder: Path, file: Identity) -> Path:
    return folder / hashlib.sha256(json.dumps(file).encode()).hexdigest()


def _read(file: Identity) -> FileHash | None:
    folder = _folder()
    with _entry(folder, file).open("rb") as stream:
        raw = stream.read(_LARGEST_ENTRY + 1)
    entry = json.loads(raw)
    sha256, locations = entry["sha256"], entry["locations"]
    sound = (
        entry["file"] == list(file)
        and isinstance(sha256, str)
        and _SHA256.fullmatch(sha256) is not None
        and isinstance(locations, list)
        and all(isinstance(name, str) for name in locations)
        and _is_private(folder)
    )
    return FileHash(sha256, frozenset(locations)) if sound else None


def _write(file: Identity, found: FileHash) -> None:
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder):
        return
    raw = json.dumps(
        {"file": file, "sha256": found.sha256, "locations": sorted(found.locations)}
    ).encode()
    if len(raw) > _LARGEST_ENTRY:
        return
    _forget_oldest(folder)
    temporary = folder / f".new-{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as stream:
            stream.write(raw)
        temporary.rename(_entry(folder, file))
    finally:
        temporary.unlink(missing_ok=True)


def _forget_oldest(folder: Path) -> None:
    entries = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(folder)]
    for _, path in sorted(entries)[: max(0, len(entries) - _MAX_ENTRIES + 1)]:
        Path(path).unlink(missing_ok=True)
