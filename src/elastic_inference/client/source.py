"""A model's files, as the application has them: where the bytes are and what their hashes are."""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

from elastic_inference.client import hashes
from elastic_inference.client.external_data import locations
from elastic_inference.errors import InvalidRequestError, ModelFormatError

ModelSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] "
    "| Mapping[str, str | os.PathLike[str] | bytes | bytearray | memoryview]"
)
MAIN = "model.onnx"
# Small enough to stay in the processor's cache between being read and being sent.
_PIECE = 512 * 1024


@dataclass(frozen=True, slots=True)
class Blob:
    """One file.

    Attributes:
        sha256: of its bytes, hexadecimal.
        size: in bytes.
        locations: what looks like names of external data in it.
    """

    sha256: str
    size: int
    locations: frozenset[str]
    _path: str
    _data: bytes

    def read(self, offset: int, size: int) -> Iterator[memoryview]:
        """`size` bytes from `offset` on, in pieces; each is valid until the next is asked for.

        Raises:
            InvalidRequestError: the file is not there any more or shorter.
        """
        if not self._path:
            yield memoryview(self._data)[offset : offset + size]
            return
        buffer = memoryview(bytearray(min(_PIECE, size)))
        end = offset + size
        try:
            with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered
                while offset < end:
                    count = os.preadv(file.fileno(), [buffer[: end - offset]], offset)
                    if not count:
                        raise InvalidRequestError(f"{self._path} became shorter while it was read.")
                    yield buffer[:count]
                    offset += count
        except OSError as error:
            raise _unreadable(self._path, error) from error


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model: `files` by name, of which `main` is the graph."""

    files: Mapping[str, Blob]
    main: str


def files_of(source: ModelSource) -> ModelFiles:
    """The files of a model given as a path, as bytes, as an open file, or by name.

    External data of a path is found beside it; a mapping must hold it.

    Raises:
        InvalidRequestError: no such file, or not something a model can be given as.
        ModelFormatError: the model is empty, or a file of its external data is missing.
    """
    if isinstance(source, Mapping):
        files = {str(name): _blob(content) for name, content in source.items()}
        main = MAIN if MAIN in files or not files else next(iter(files))
    elif isinstance(source, str | os.PathLike):
        graph = _blob(source)
        files = _external(Path(source), graph.locations)
        main = _free_name(files)
        files[main] = graph
    elif hasattr(source, "read"):
        files, main = {MAIN: _blob(source.read())}, MAIN
    else:
        files, main = {MAIN: _blob(source)}, MAIN
    if main not in files or files[main].size == 0:
        raise ModelFormatError("The model is empty.")
    return ModelFiles({name: blob for name, blob in files.items() if blob.size}, main)


def _free_name(taken: Mapping[str, Blob]) -> str:
    name = MAIN
    while name in taken:
        name = "_" + name
    return name


def _blob(source: object) -> Blob:
    if isinstance(source, str | os.PathLike):
        return _blob_of_file(os.fspath(source))
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return Blob(hashlib.sha256(data).hexdigest(), len(data), locations(data), "", data)
    raise InvalidRequestError(
        f"A model cannot be loaded from {type(source).__name__}.",
        next_step="Give a path, bytes or an open binary file.",
    )


def _blob_of_file(path: str) -> Blob:
    path = os.path.abspath(path)  # noqa: PTH100 - it outlives a change of directory
    began = time.time_ns()
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered
            status = os.fstat(file.fileno())
            before = hashes.identity(path, status)
            found = hashes.recall(before)
            if found is None:
                found = _scan(file, status.st_size)
                if hashes.identity(path, os.fstat(file.fileno())) == before:
                    hashes.remember(before, found, began_ns=began)
    except OSError as error:
        raise _unreadable(path, error) from error
    return Blob(found.sha256, status.st_size, found.locations, path, b"")


def _scan(file: IO[bytes], size: int) -> hashes.FileHash:
    """Hash and external data locations, in no memory of its own."""
    if size == 0:
        return hashes.FileHash(hashlib.sha256().hexdigest(), frozenset())
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return hashes.FileHash(hashlib.sha256(mapped).hexdigest(), locations(mapped))


def _external(model: Path, names: frozenset[str]) -> dict[str, Blob]:
    """The external data files of the model at `model`, none outside its folder."""
    found: dict[str, Blob] = {}
    for location in sorted(names):
        pure = PurePosixPath(location)
        if pure.is_absolute() or ".." in pure.parts or "\0" in location:
            continue
        path = model.parent / pure
        if not path.is_file():
            continue
        folder = model.parent.resolve()
        if folder in path.resolve().parents or path.parent == model.parent:
            found[str(pure)] = _blob_of_file(str(path))
    return found


def _unreadable(path: str, error: OSError) -> InvalidRequestError:
    return InvalidRequestError(f"Cannot read {path}: {error.strerror or error}.")
