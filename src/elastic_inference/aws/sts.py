"""STS: who somebody is, and credentials of roles."""

from __future__ import annotations

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.control.plane import ControlPlane


class Sts:
    """The operations of STS."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {"GetCallerIdentity": operation(self._identity)}

    def _identity(self, call: Call) -> Document:
        principal = call.caller.principal
        return {"Account": call.account, "Arn": principal.arn, "UserId": principal.key.id}
