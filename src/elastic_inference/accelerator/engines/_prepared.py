"""Prepared models on disk: optimised graphs whose weights are laid out for this processor.

A folder is written beside its place and renamed when it is whole, so that a process killed at
any moment leaves nothing that is believed. What was written before the machine last started
is not believed either: the files are not forced to the disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.accelerator.onnxfile import EXTERNAL_DATA, TENSOR_PATHS
from elastic_inference.protocol.host import boot_id
from elastic_inference.protocol.wireformat import BYTES, Span, fields

MODEL = "model.onnx"
WEIGHTS = "weights.bin"
LOCK = "lock"
TEMPORARY = ".new-"
_ENTRY = "entry.json"
_LARGEST_ENTRY = 16 * 1024 * 1024
_ALIGNMENT = 64
# The key of a weight's laid-out form among a tensor's external data. Its value: the operator and
# a hash, then offset, size and a flag of each part.
_LAID_OUT = b"prepacked_"
_OFFSET = re.compile(rb"\|(\d+);")


@dataclass(slots=True)
class Prepared:
    """A prepared model in use; it is not evicted before `release`.

    Attributes:
        folder: holds `MODEL` and, where there are large weights, `WEIGHTS`.
        weights_bytes: size of the weights file, 0 if there is none.
        interface: what the original session said about itself.
    """

    folder: Path
    weights_bytes: int
    interface: dict[str, Any]
    _lock: int

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def find(folder: Path) -> Prepared | None:
    """The prepared model in `folder`, or None where there is none or it is not sound."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        entry = _read_entry(folder)
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        os.close(lock)
        return None
    if entry is None:
        os.close(lock)
        return None
    os.utime(folder / LOCK)
    return Prepared(folder, entry["files"].get(WEIGHTS, [0])[0], entry["interface"], lock)


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """A new folder in which to prepare a model; gone at the end unless `keep` moved it."""
    folder.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
    temporary = folder.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    temporary.mkdir(mode=0o770)
    lock = -1
    try:
        lock = os.open(temporary / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def keep(temporary: Path, folder: Path, interface: dict[str, Any]) -> None:
    """Make what lies in `temporary` the prepared model `folder`, if no other did meanwhile.

    Raises:
        OSError: the entry cannot be written.
    """
    files = {
        name: _identity(temporary / name)
        for name in (MODEL, WEIGHTS)
        if (temporary / name).exists()
    }
    entry = {
        "files": files,
        "digest": _digest(temporary / MODEL),
        "boot": boot_id(),
        "interface": interface,
    }
    (temporary / _ENTRY).write_text(json.dumps(entry), encoding="utf-8")
    with suppress(FileExistsError, NotADirectoryError):
        # A folder that is there but was not found sound gives way; rename needs it empty.
        if folder.exists():
            if there := find(folder):
                there.release()
            else:
                drop(folder)
        temporary.rename(folder)


def disown_misaligned(model: Path) -> int:
    """Make the engine lay out anew those weights whose laid-out form is not aligned in the file.

    ONNX Runtime writes them one after the other, and its kernels then read them with
    instructions that end the process where an address is not a multiple of 64. A name that no
    operator has is not looked up.

    Returns:
        How many there were.
    """
    data = model.read_bytes()
    changed = bytearray(data)
    count = 0
    for key, (start, end) in _external_entries(data, (0, len(data)), "model"):
        if not key.startswith(_LAID_OUT):
            continue
        if any(int(offset) % _ALIGNMENT for offset in _OFFSET.findall(data, start, end)):
            changed[start] = ord("_")
            count += 1
    if count:
        model.write_bytes(changed)
    return count


def _external_entries(data: bytes, span: Span, message: str) -> Iterator[tuple[bytes, Span]]:
    """Key of each entry of a tensor's external data, and where its value lies."""
    if message == "node" and data.find(_LAID_OUT, *span) < 0:
        return
    paths = TENSOR_PATHS[message]
    for number, wire, inner in fields(data, span):
        if wire != BYTES:
            continue
        if number in paths:
            yield from _external_entries(data, inner, paths[number])
        elif message == "tensor" and number == EXTERNAL_DATA:
            entry = {part: place for part, kind, place in fields(data, inner) if kind == BYTES}
            if entry.keys() >= {1, 2}:
                yield data[slice(*entry[1])], entry[2]


def drop(folder: Path) -> None:
    """Remove a prepared model; processes that have it mapped keep their mapping."""
    with suppress(OSError):
        doomed = folder.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _read_entry(folder: Path) -> dict[str, Any] | None:
    path = folder / _ENTRY
    if path.stat().st_size > _LARGEST_ENTRY:
        return None
    entry = json.loads(path.read_bytes())
    sound = (
        entry["boot"] == boot_id()
        and all(_identity(folder / name) == seen for name, seen in entry["files"].items())
        and _digest(folder / MODEL) == entry["digest"]
        and isinstance(entry["interface"], dict)
    )
    return dict(entry) if sound else None


def _identity(path: Path) -> list[int]:
    """What changes when a file does: size and time of the last write."""
    seen = path.stat()
    return [seen.st_size, seen.st_mtime_ns]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
