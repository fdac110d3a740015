"""The load request's files and options, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from elastic_inference.accelerator.engines.base import LoadOptions
from elastic_inference.errors import InvalidRequestError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LEVELS = ("disable", "basic", "extended", "layout", "all")
_MODES = ("sequential", "parallel")
_MAX_FILES = 4096
_MAX_ENTRIES = 64
_MAX_TEXT = 256


def parse_files(files: Any, main: Any) -> tuple[dict[str, str], str]:
    """The files by name, as hashes, and which of them is the model.

    Raises:
        InvalidRequestError: not a mapping of names to SHA-256, or `main` is not in it.
    """
    if not isinstance(files, dict) or not 0 < len(files) <= _MAX_FILES:
        raise InvalidRequestError('"files" must map file names to SHA-256 hashes.')
    for name, digest in files.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise InvalidRequestError(f"The hash of file {name[:100]!r} is not a SHA-256.")
    if not isinstance(main, str) or main not in files:
        raise InvalidRequestError('"main" must be one of "files".')
    return files, main


def parse_options(raw: Any, threads: int) -> LoadOptions:
    """The options of docs/protocol.md; `threads` is the slice's.

    Raises:
        InvalidRequestError: an option is unknown or its value not allowed.
    """
    if not isinstance(raw, dict):
        raise InvalidRequestError('"options" must be an object.')
    known = {"threads", "graph_optimization_level", "execution_mode", "free_dimensions", "config"}
    if unknown := set(raw) - known:
        raise InvalidRequestError(f"The load option {min(unknown)[:100]!r} is not known.")
    wanted = raw.get("threads", threads)
    if type(wanted) is not int or wanted < 0:
        raise InvalidRequestError('"threads" must be a number.')
    return LoadOptions(
        threads=min(wanted or threads, threads),
        graph_optimization_level=_one_of(raw, "graph_optimization_level", _LEVELS, "all"),
        execution_mode=_one_of(raw, "execution_mode", _MODES, "sequential"),
        free_dimensions=_mapping(raw, "free_dimensions", int),
        config=_mapping(raw, "config", str),
    )


def _one_of(raw: Mapping[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    value = raw.get(key, default)
    if value not in allowed:
        raise InvalidRequestError(f"{key} must be one of {', '.join(allowed)}.")
    return str(value)


def _mapping(raw: Mapping[str, Any], key: str, kind: type) -> dict[str, Any]:
    value = raw.get(key, {})
    if not isinstance(value, dict) or len(value) > _MAX_ENTRIES:
        raise InvalidRequestError(f'"{key}" must be an object of at most {_MAX_ENTRIES} entries.')
    for name, item in value.items():
        if type(item) is not kind or len(name) > _MAX_TEXT or len(str(item)) > _MAX_TEXT:
            raise InvalidRequestError(f"{key}[{name[:100]!r}] is not allowed.")
    return value
