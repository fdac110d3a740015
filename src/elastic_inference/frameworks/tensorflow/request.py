"""How a source is told to the process that makes its plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elastic_inference.frameworks.tensorflow.source import Source


def document_of(source: Source) -> dict[str, Any]:
    """A source as JSON has it."""
    return {
        "path": str(source.path.resolve()),
        "tags": list(source.tags),
        "signature": source.signature,
        "inputs": dict(source.inputs),
        "outputs": dict(source.outputs),
    }


def source_of(document: Mapping[str, Any]) -> Source:
    """The source that `document_of` described."""
    return Source(
        Path(document["path"]),
        tuple(document["tags"]),
        document["signature"],
        document["inputs"],
        document["outputs"],
    )
