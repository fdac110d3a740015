"""Bring a model to where it runs: whole to the accelerator, or in segments."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elastic_inference.client import Accelerator
from elastic_inference.errors import ConfigurationError, ModelFormatError
from elastic_inference.frameworks import attach
from elastic_inference.frameworks.onnxruntime.opsets import read_opsets, unknown_domains
from elastic_inference.frameworks.onnxruntime.options import config_entry, load_options
from elastic_inference.frameworks.onnxruntime.runners import (
    LocalRunner,
    RemoteRunner,
    Runner,
    local_session,
)

# The key of an external tensor's file, as it stands in a serialised model.
_MAYBE_EXTERNAL = b"location"
_FOLDER_ENTRY = "session.model_external_initializers_file_folder_path"

Source = str | bytes | os.PathLike[str]


def load(
    target: Accelerator, source: Source, options: Any, keywords: dict[str, Any]
) -> Runner | None:
    """A runner of the model; None where nothing in it runs on the accelerator.

    Args:
        target: the accelerator.
        source: the model's path or bytes.
        options: ONNX Runtime session options, or None.
        keywords: further arguments of the session.

    Raises:
        ElasticInferenceError: the model cannot be read or loaded.
    """
    model = source if isinstance(source, bytes) else os.fspath(source)
    domains, threads = attach.domains(target)
    chosen = load_options(options, threads)
    disabled = keywords.get("disabled_optimizers")
    if disabled:
        chosen.setdefault("config", {})["optimization.disable_specified_optimizers"] = ";".join(
            sorted(disabled)
        )
    try:
        opsets = read_opsets(model)
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise ModelFormatError(f"The model cannot be read: {error}") from error
    custom = bool(getattr(options, "custom_op_libraries", ()))
    if getattr(options, "optimized_model_filepath", ""):
        # The local engine writes the file that was asked for.
        local_session(model, options, **keywords)
    if not custom and not unknown_domains(opsets, domains):
        return RemoteRunner(target.load(_files(model, options), chosen))
    return _load_divided(target, model, options, chosen, domains, custom=custom)


def _load_divided(
    target: Accelerator,
    model: bytes | str,
    options: Any,
    chosen: dict[str, Any],
    domains: dict[str, int],
    *,
    custom: bool,
) -> Runner | None:
    try:
        from elastic_inference.frameworks.onnxruntime import partitioned  # noqa: PLC0415 - onnx
    except ImportError as error:
        raise ConfigurationError(
            "The model has operators that the accelerator does not run, and dividing it needs "
            "the package onnx.",
            next_step="Install elastic-inference[onnxruntime].",
        ) from error
    support = partitioned.Support(domains, partitioned.known_operators() if custom else None)
    parsed, segments = partitioned.plan(partitioned.parse(model), support)
    if not any(segment.remote for segment in segments):
        return None
    if len(segments) == 1:
        return RemoteRunner(target.load(_files(model, options), chosen))
    directory = None if isinstance(model, bytes) else Path(model).resolve().parent

    def load_local(piece: bytes) -> Runner:
        with _without_file(options):
            return LocalRunner(local_session(piece, options))

    def load_remote(piece: bytes) -> Runner:
        return RemoteRunner(target.load(_with_weights(piece, directory), chosen))

    return partitioned.PartitionedModel(
        parsed, segments, load_remote=load_remote, load_local=load_local, directory=directory
    )


def _files(model: bytes | str, options: Any) -> Any:
    """The model and its external data as the client takes them."""
    given: dict[str, bytes] = getattr(options, "initializer_files", {})
    if given:
        return {"model.onnx": model, **given}
    if isinstance(model, bytes) and _MAYBE_EXTERNAL in model:
        folder = config_entry(options, _FOLDER_ENTRY) if options is not None else ""
        return _with_weights(model, Path(folder))
    return model


def _with_weights(model: bytes, directory: Path | None) -> Any:
    """The model with the files of its external data, which lie in `directory`."""
    if directory is None or _MAYBE_EXTERNAL not in model:
        return model
    from elastic_inference.frameworks.onnxruntime import partitioned  # noqa: PLC0415 - onnx

    files = partitioned.external_files(partitioned.parse(model), directory)
    return {"model.onnx": model, **files} if files else model


@contextlib.contextmanager
def _without_file(options: Any) -> Iterator[None]:
    """The options without the file that they ask for, which a segment is not to overwrite."""
    path = getattr(options, "optimized_model_filepath", "")
    if path:
        options.optimized_model_filepath = ""
    try:
        yield
    finally:
        if path:
            options.optimized_model_filepath = path
