"""Auto Scaling."""

from __future__ import annotations

from elastic_inference.aws.autoscaling_activities import ActivityOperations
from elastic_inference.aws.autoscaling_groups import GroupOperations
from elastic_inference.aws.autoscaling_members import MemberOperations
from elastic_inference.aws.autoscaling_policies import PolicyOperations
from elastic_inference.aws.autoscaling_tags import ProcessOperations, TagOperations
from elastic_inference.aws.call import Operation, Operations
from elastic_inference.control.plane import ControlPlane

_PARTS = (
    GroupOperations, MemberOperations, ActivityOperations, PolicyOperations, TagOperations,
    ProcessOperations,
)  # fmt: skip


class AutoScaling:
    """All of its operations; `autoscaling_scaler` does what groups want."""

    def __init__(self, plane: ControlPlane) -> None:
        found: dict[str, Operation] = {}
        for part in _PARTS:
            found.update(part(plane).operations)
        self.operations: Operations = found
