"""A model on this machine's ONNX Runtime."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError, ModelFormatError
from elastic_inference.frameworks.mxnet.builder import MAIN


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
        names = [name for name in files if name != MAIN]
        self._kept = [_bytes(files[name]) for name in names]
        if names:
            options.add_external_initializers_from_files_in_memory(
                names, self._kept, [len(each) for each in self._kept]
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


def _bytes(content: Any) -> Any:
    if isinstance(content, bytes):
        return content
    with Path(content).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
