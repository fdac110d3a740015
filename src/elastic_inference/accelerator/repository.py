"""The model repository extension's load request: files under paths, and a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.accelerator.engines.base import LoadedModel
from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.json_object import parse_object
from elastic_inference.protocol.tensors import TensorSpec

_VERSIONED = re.compile(r"(\d{1,9})/(.+)", re.DOTALL)
_PLATFORMS = ("", "onnxruntime_onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class RepositoryModel:
    """A model as the extension loads it.

    Attributes:
        files: contents by name within the model's folder.
        main: which of them is the model.
        inputs, outputs: the datatype by name, or "", of those that the configuration names;
            to be compared with the model's.
    """

    files: Mapping[str, bytes]
    main: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    def check(self, model: LoadedModel) -> None:
        """Raise InvalidRequestError if the configuration tells of tensors that `model` lacks."""
        _compare("input", self.inputs, model.inputs)
        _compare("output", self.outputs, model.outputs)


def parse_repository_load(name: str, files: Mapping[str, bytes], config: str) -> RepositoryModel:
    """The model in `files`, of the highest version where paths begin with one.

    Of the configuration only what applies here is looked at: name, platform or backend, the
    file name, and the names and datatypes of inputs and outputs.

    Raises:
        InvalidRequestError: no model among the files, or the configuration does not fit.
    """
    settings = parse_object((config or "{}").encode(), "The model's configuration")
    if settings.get("name") not in (None, "", name):
        raise InvalidRequestError("The model's configuration is that of another name.")
    for key in ("platform", "backend"):
        if settings.get(key) not in (None, *_PLATFORMS):
            raise InvalidRequestError(
                f"The {key} {str(settings[key])[:100]!r} is not offered.",
                next_step="Accelerators run ONNX models: backend onnxruntime.",
            )
    chosen = _newest(files)
    main = settings.get("default_model_filename") or _main_of(list(chosen))
    if not isinstance(main, str) or main not in chosen:
        raise InvalidRequestError(
            "No model file came with the load request.",
            next_step="Send it as the parameter file:1/model.onnx.",
        )
    return RepositoryModel(
        chosen, main, _tensors(settings.get("input")), _tensors(settings.get("output"))
    )


def _newest(files: Mapping[str, bytes]) -> dict[str, bytes]:
    versions: dict[int, dict[str, bytes]] = {}
    for path, data in files.items():
        match = _VERSIONED.fullmatch(path)
        version, inner = (int(match[1]), match[2]) if match else (0, path)
        versions.setdefault(version, {})[inner] = data
    return versions[max(versions)]


def _main_of(paths: list[str]) -> str | None:
    models = [path for path in paths if path.endswith(".onnx")]
    return "model.onnx" if "model.onnx" in models else models[0] if len(models) == 1 else None


def _tensors(entries: Any) -> dict[str, str]:
    """The datatype, in the protocol's spelling, of each tensor that a configuration names."""
    if not isinstance(entries, list):
        return {}
    return {
        str(entry["name"]): _datatype(entry.get("data_type"))
        for entry in entries
        if isinstance(entry, dict) and "name" in entry
    }


def _datatype(raw: Any) -> str:
    name = raw.removeprefix("TYPE_") if isinstance(raw, str) else ""
    return {"STRING": "BYTES", "INVALID": ""}.get(name, name)


def _compare(kind: str, named: Mapping[str, str], specs: Sequence[TensorSpec]) -> None:
    known = {spec.name: spec.datatype for spec in specs}
    for name, datatype in named.items():
        if name not in known:
            raise InvalidRequestError(
                f"The configuration names the {kind} {name[:100]!r}, which the model has not.",
                next_step=f"Its {kind}s are: {', '.join(list(known)[:20])}.",
            )
        if datatype not in ("", known[name]):
            raise InvalidRequestError(
                f"The configuration says {datatype[:40]!r} of the {kind} {name[:100]!r}, "
                f"which is a {known[name]} in the model."
            )
