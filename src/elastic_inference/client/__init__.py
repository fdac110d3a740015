"""Use an accelerator: `connect()`, `Accelerator.load()`, `Model.run()`."""

from __future__ import annotations

from elastic_inference.client.accelerator import Accelerator, connect, visible_accelerators
from elastic_inference.client.discovery import Attached
from elastic_inference.client.grant import Address
from elastic_inference.client.model import Model

__all__ = ["Accelerator", "Address", "Attached", "Model", "connect", "visible_accelerators"]
