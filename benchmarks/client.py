"""The project's client, pointed at the measured accelerator by one transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from elastic_inference.client import Accelerator, Address, Model, connect
from elastic_inference.settings import ClientSettings


def open_accelerator(grant: Mapping[str, Any]) -> Accelerator:
    """Attach by what `Target.grant` gave; fails if the tensors would go another way."""
    wanted = grant["transport"]
    # Plain TCP has no name of its own among the transports: it is TLS without TLS.
    settings = replace(
        ClientSettings(), transport="tls" if wanted == "tcp" else wanted, banner="off"
    )
    accelerator = connect(
        settings=settings, address=Address(**grant["address"]), token=grant["token"]
    )
    if accelerator.transport != wanted:
        raise RuntimeError(f"tensors go over {accelerator.transport}, not {wanted}")
    return accelerator


def registered_run(model: Model, feed: npt.NDArray[Any]) -> Callable[[], Any]:
    """Runs of `model` whose input lies in shared memory already."""
    shared = model.empty("x", feed.shape)
    np.copyto(shared, feed)
    feeds = {"x": shared}
    return lambda: model.run(feeds)
