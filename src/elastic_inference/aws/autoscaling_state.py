"""Auto Scaling groups in the store: how one is now, and what was decided, written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_activities import (
    CANCELLED,
    ENDING,
    FAILED,
    SUCCESSFUL,
    WAITING,
    Activities,
)
from elastic_inference.aws.autoscaling_decisions import (
    IN_SERVICE,
    TERMINATING,
    UNHEALTHY,
    Action,
    Condition,
    End,
    Enter,
    Fail,
    Forget,
    Launch,
    Mark,
    Remove,
    Situation,
)
from elastic_inference.control import records
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Accelerator, ScalingGroup
from elastic_inference.fleet.base import ENDED, Health

# Between two tries to launch what could not be launched.
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0


class Groups:
    """Reads situations and writes decisions down; the latter in a transaction of the caller's."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self.activities = Activities(plane)

    def situation(self, group: ScalingGroup, died: Mapping[str, float] | None = None) -> Situation:
        """A group as it is now.

        Args:
            died: when accelerators ended by themselves, where that is known.
        """
        members = words.members(self._plane, group)
        ids = [each.instance_id for each in members]
        accelerators = self._store.accelerators_by_instance(ids) if ids else {}
        columns = self._store.instances.columns
        instances = self._store.instances.where(columns.id.in_(ids)) if ids else []
        return Situation(
            group=group,
            members=members,
            conditions={
                each.id: Condition(
                    state=each.state,
                    reason=each.state_reason,
                    subnet_id=each.subnet_id,
                    running_since=each.launched_at,
                    impaired_since=_impaired_since(accelerators[each.id]),
                    died_at=_died_at(accelerators[each.id], died or {}),
                )
                for each in instances
            },
            launching=[
                each.details.get("subnet", "")
                for each in self.activities.open(group)
                if each.status == WAITING
            ],
            now=self._plane.clock.time(),
        )

    def apply(self, group: ScalingGroup, actions: Sequence[Action]) -> None:
        """Write down what was decided for a group."""
        for action in actions:
            if isinstance(action, Launch):
                self.activities.begin(
                    group, WAITING, "Launching a new EC2 instance", action.cause,
                    subnet=action.subnet_id,
                )  # fmt: skip
            elif isinstance(action, Enter):
                self._enter(group, action.instance_id)
            elif isinstance(action, Fail):
                self.failed(group)
                self._drop(group, action.instance_id, FAILED, action.message)
            elif isinstance(action, Mark):
                self._change(action.instance_id, health=UNHEALTHY)
            elif isinstance(action, End):
                self.end_member(group, action.instance_id, action.cause, action.unhealthy)
            elif isinstance(action, Forget):
                self._drop(group, action.instance_id, SUCCESSFUL)
                # Room has become free.
                self.remember(group, failures=None, retry_at=None)
            elif isinstance(action, Remove):
                self.remove(group)
        if any(isinstance(each, Launch | End) for each in actions):
            self.remember(group, cause=None)

    def end_member(
        self, group: ScalingGroup, instance_id: str, cause: str, unhealthy: bool = False
    ) -> records.ScalingActivity:
        """A member is to be ended."""
        values: dict[str, Any] = {"lifecycle": TERMINATING}
        if unhealthy:
            values["health"] = UNHEALTHY
        self._change(instance_id, **values)
        self.activities.end_of(group, instance_id, CANCELLED)
        instance = self._store.instances.get(instance_id)
        return self.activities.begin(
            group, ENDING, f"Terminating EC2 instance: {instance_id}", cause,
            instance=instance_id, subnet=instance.subnet_id if instance else "",
        )  # fmt: skip

    def failed(self, group: ScalingGroup) -> None:
        """A launch failed; the next one has to wait, the longer the more have."""
        now = self._store.scaling_groups.get(group.account, group.name)
        if now is None or now.state.get("retry_at", 0.0) > self._plane.clock.time():
            # Several that fail together count as one.
            return
        failures = int(now.state.get("failures", 0)) + 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
        self.remember(group, failures=failures, retry_at=self._plane.clock.time() + pause)

    def remember(self, group: ScalingGroup, **values: Any) -> None:
        """Keep something of a group's state; None: forget it."""
        now = self._store.scaling_groups.get(group.account, group.name)
        if now is None:
            return
        state = {**now.state, **values}
        kept = {key: value for key, value in state.items() if value is not None}
        if kept != now.state:
            self.change(group, state=kept)

    def change(self, group: ScalingGroup, **values: Any) -> None:
        columns = self._store.scaling_groups.columns
        self._store.scaling_groups.change(
            columns.account == group.account, columns.name == group.name, **values
        )

    def remove(self, group: ScalingGroup) -> None:
        """A group without members is no more, nor are its policies."""
        policies = self._store.scaling_policies.columns
        self._store.scaling_policies.remove(
            policies.account == group.account, policies.group_name == group.name
        )
        columns = self._store.scaling_groups.columns
        self._store.scaling_groups.remove(
            columns.account == group.account, columns.name == group.name
        )

    def _enter(self, group: ScalingGroup, instance_id: str) -> None:
        self._change(instance_id, lifecycle=IN_SERVICE)
        self.activities.end_of(group, instance_id, SUCCESSFUL)
        self.remember(group, failures=None, retry_at=None, scaled_at=self._plane.clock.time())

    def _drop(self, group: ScalingGroup, instance_id: str, status: str, message: str = "") -> None:
        self.activities.end_of(group, instance_id, status, message)
        columns = self._store.scaling_members.columns
        self._store.scaling_members.remove(columns.instance_id == instance_id)

    def _change(self, instance_id: str, **values: Any) -> None:
        columns = self._store.scaling_members.columns
        self._store.scaling_members.change(columns.instance_id == instance_id, **values)


def _died_at(accelerators: Sequence[Accelerator], died: Mapping[str, float]) -> float | None:
    known = [died[each.id] for each in accelerators if each.id in died]
    known += [
        each.health_at
        for each in accelerators
        if each.health == Health.IMPAIRED and each.health_reason == ENDED
    ]
    return max(known, default=None)


def _impaired_since(accelerators: Sequence[Accelerator]) -> float | None:
    return min(
        (each.health_at for each in accelerators if each.health == Health.IMPAIRED), default=None
    )
