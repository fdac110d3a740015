"""Runs translated graphs on the machine's ONNX Runtime, without the rest of the package."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elastic_inference.frameworks.mxnet.builder import MAIN
from elastic_inference.frameworks.mxnet.translate import NumpySegment, Translation
from elastic_inference.protocol.tensors import Array


class Loaded:
    """A translation, loaded."""

    def __init__(self, translation: Translation) -> None:
        self.translation = translation
        self._kept: list[Any] = []
        self._sessions = [
            None if isinstance(segment, NumpySegment) else self._open(segment.files)
            for segment in translation.segments
        ]

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The values of all heads."""
        values: dict[str, Array] = {**self.translation.constants, **feeds}
        for segment, session in zip(self.translation.segments, self._sessions, strict=True):
            if isinstance(segment, NumpySegment):
                values.update(segment.run(values))
                continue
            assert session is not None
            names = [each.name for each in segment.outputs]
            given = {each.name: values[each.name] for each in segment.inputs}
            values.update(zip(names, session.run(names, given), strict=True))
        return [values[each.name] for each in self.translation.outputs]

    def _open(self, files: Mapping[str, Any]) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 2
        names = [name for name in files if name != MAIN]
        contents = [_bytes(files[name]) for name in names]
        self._kept += contents
        if names:
            options.add_external_initializers_from_files_in_memory(
                names, contents, [len(each) for each in contents]
            )
        return ort.InferenceSession(files[MAIN], options, providers=["CPUExecutionProvider"])


def _bytes(content: Any) -> Any:
    if isinstance(content, bytes):
        return content
    with Path(content).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
