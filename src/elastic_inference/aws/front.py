"""AWS's APIs on a pool's port. Nothing is loaded for them until somebody asks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from elastic_inference.control.client import TARGET_PREFIX
from elastic_inference.control.front import HttpAnswer, HttpRequest
from elastic_inference.control.plane import ControlPlane

if TYPE_CHECKING:
    from elastic_inference.aws.gateway import Gateway

MAX_BODY = 1 << 20
# Of CloudWatch's and of elastic-inference's API; the others' requests all go to /.
CBOR_PATHS = ("/service/",)
REST_PATHS = ("/describe-accelerator", "/tags/")
PATHS = (*CBOR_PATHS, *REST_PATHS)


class AwsFront:
    """Serves EC2, IAM, STS, Auto Scaling, CloudWatch and elastic-inference of a control plane."""

    max_body = MAX_BODY

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._lock = threading.Lock()
        self._gateway: Gateway | None = None

    def takes(self, method: str, target: str, headers: Sequence[tuple[str, str]]) -> bool:
        """Whether AWS's tools would send such a request."""
        fields = {name.lower(): value for name, value in headers}
        if fields.get("x-amz-target", "").startswith(TARGET_PREFIX):
            return False
        path, _, query = target.partition("?")
        return (
            "authorization" in fields
            or "x-amz-target" in fields
            or "Action=" in query
            or path.startswith(PATHS)
            or (method == "POST" and "x-www-form-urlencoded" in fields.get("content-type", ""))
        )

    def answer(self, request: HttpRequest) -> HttpAnswer:
        return self._ready().answer(request)

    def start(self) -> None:
        """Go on with what groups need."""
        if self._plane.store.scaling_groups.count():
            from elastic_inference.aws.autoscaling_scaler import scaler_of  # noqa: PLC0415

            scaler_of(self._plane).start()

    def close(self) -> None:
        """End what `start` or a request began."""
        # Where nobody has loaded it there is nothing to close.
        scaling = sys.modules.get("elastic_inference.aws.autoscaling_scaler")
        if scaling is not None:
            scaling.close_scaler(self._plane)

    def _ready(self) -> Gateway:
        with self._lock:
            if self._gateway is None:
                from elastic_inference.aws.gateway import Gateway  # noqa: PLC0415 - slow to load

                self._gateway = Gateway(self._plane)
            return self._gateway
