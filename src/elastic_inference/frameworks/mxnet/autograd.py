"""What scripts say of gradients where they only predict; recording them is refused."""

from __future__ import annotations

import contextlib
from typing import Any

from elastic_inference.frameworks.mxnet.errors import inference_only


def is_recording() -> bool:
    return False


def is_training() -> bool:
    return False


def pause(train_mode: bool = False) -> Any:
    """A block without gradients, as every one is."""
    return record(train_mode)


def predict_mode() -> Any:
    """A block for inference, as every one is."""
    return contextlib.nullcontext()


def record(train_mode: bool = True) -> Any:
    """A block whose computations could be trained.

    Raises:
        MXNetError: it is for training: this is for inference only.
    """
    if train_mode:
        raise inference_only("autograd for training")
    return contextlib.nullcontext()


def train_mode() -> Any:
    return record()


def backward(*_arguments: Any, **_keywords: Any) -> None:
    raise inference_only("autograd.backward")
