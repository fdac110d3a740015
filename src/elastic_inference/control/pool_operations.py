"""What a pool says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from elastic_inference._version import __version__
from elastic_inference.control.caller import Caller
from elastic_inference.control.documents import Document
from elastic_inference.control.plane import ControlPlane
from elastic_inference.protocol.host import boot_id


class PoolOperations:
    """Describes the pool: its name to everybody, how it runs instances to who has credentials."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Mapping[str, Callable[[Document, Caller], Document]] = {
            "DescribePool": self._describe
        }
        self.unsigned: Mapping[str, Callable[[Document], Document]] = {
            "DescribePool": lambda _: self._public()
        }

    def _public(self) -> Document:
        return {
            "poolId": self._plane.pool_id,
            "region": self._plane.settings.region,
            "version": __version__,
        }

    def _describe(self, document: Document, caller: Caller) -> Document:
        del document, caller
        compute = self._plane.compute
        return self._public() | {
            "isolated": compute is not None and compute.isolated,
            "bootId": boot_id(),
        }
