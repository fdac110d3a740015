"""A model on this machine's ONNX Runtime."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError, ModelFormatError
from elastic_inference.frameworks.mxnet.builder import MAIN

_FOLDER_ENTRY = "session.model_external_initializers_file_folder_path"


class LocalModel:
    """Runs ONNX files as `client.Model` does on an accelerator."""

    def __init__(self, files: Mapping[str, Any]) -> None:
        try:
            from elastic_inference.frameworks.onnxruntime import real  # noqa: PLC0415 - loads it
        except ImportError as error:
            raise ConfigurationError(
                "mx.cpu() runs models with ONNX Runtime, which is not installed.",
                next_step="Install elastic-inference[mxnet].",
            ) from error
        options = real.SessionOptions()
        # Warnings of the graph are of no use to those who have not written it.
        options.log_severity_level = 3
        data = {name: each for name, each in files.items() if name != MAIN}
        self._kept: list[Any] = []
        folder = _folder(data)
        if folder:
            # So it maps the files itself, and copies nothing that it packs anyway.
            options.add_session_config_entry(_FOLDER_ENTRY, folder)
        elif data:
            self._kept = [_bytes(each) for each in data.values()]
            options.add_external_initializers_from_files_in_memory(
                list(data), self._kept, [len(each) for each in self._kept]
            )
        try:
            self._session: Any = real.InferenceSession(
                _bytes(files[MAIN]), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no class in common
            raise ModelFormatError(f"The model cannot be loaded: {error}.") from error
        # What it needs of them it has copied.
        del self._kept

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> list[Any]:
        """The outputs of those names, all if None."""
        return list(self._session.run(outputs, dict(feeds)))

    def close(self) -> None:
        self._session = None


def _folder(data: Mapping[str, Any]) -> str:
    """The folder in which all of these files lie by their names, or "" where there is none."""
    folders = set()
    for name, content in data.items():
        # What links lead to is outside of the folder, for ONNX Runtime.
        path = None if isinstance(content, bytes) else Path(content).resolve()
        if path is None or path.name != name:
            return ""
        folders.add(str(path.parent))
    return folders.pop() if len(folders) == 1 else ""


def _bytes(content: Any) -> Any:
    if isinstance(content, bytes):
        return content
    with Path(content).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
