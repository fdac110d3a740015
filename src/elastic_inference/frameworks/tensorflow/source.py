"""What is to be prepared: a model on disk and which of its tensors go in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SERVE = "serve"
DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class Source:
    """One way into a model.

    Attributes:
        path: a SavedModel's folder, or the file of a frozen GraphDef (binary, or text as
            `.pbtxt`).
        tags: of the meta graph in a SavedModel.
        signature: its key in a SavedModel; "" where `inputs` and `outputs` say it all.
        inputs, outputs: tensor names by key, as {"inputs": "image_tensor:0"}. Where they are
            given they take the place of the signature's.
    """

    path: Path
    tags: tuple[str, ...] = (SERVE,)
    signature: str = DEFAULT_SIGNATURE
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_frozen(self) -> bool:
        """Whether it is a frozen graph's file."""
        return self.path.is_file()
