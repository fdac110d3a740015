"""Scaling policies of groups: made, told of, executed and deleted."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

from elastic_inference.aws import autoscaling_input as given
from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_policy_input import (
    ADJUSTMENTS,
    HONOURED,
    SIMPLE,
    STEP,
    checked,
)
from elastic_inference.aws.autoscaling_scaler import scaler_of
from elastic_inference.aws.autoscaling_state import Groups
from elastic_inference.aws.autoscaling_words import GroupArns
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.pages import page
from elastic_inference.control.names import PARTITION
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingGroup, ScalingPolicy

_MOST = 50


class PolicyOperations:
    """Policies: target tracking by itself, simple and step scaling when they are executed."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._groups = Groups(plane)
        arns = GroupArns(plane)
        self.operations: Operations = {
            "PutScalingPolicy": operation(self._put, HONOURED, resources=arns.named),
            "DescribePolicies": operation(
                self._describe, "AutoScalingGroupName PolicyNames PolicyTypes MaxRecords NextToken"
            ),
            "DeletePolicy": operation(
                self._delete, "AutoScalingGroupName PolicyName", resources=arns.of_policy
            ),
            "ExecutePolicy": operation(
                self._execute,
                "AutoScalingGroupName PolicyName HonorCooldown MetricValue BreachThreshold",
                resources=arns.of_policy,
            ),
            "DescribeAdjustmentTypes": operation(
                lambda _: {"AdjustmentTypes": [{"AdjustmentType": each} for each in ADJUSTMENTS]}
            ),
        }

    def _put(self, call: Call) -> Document:
        settings = checked(call.input)
        name = call.input["PolicyName"]
        if ":" in name:
            raise words.invalid("A PolicyName has no colon.")
        table = self._store.scaling_policies
        with self._store.transaction():
            group = words.changeable(self._plane, call.account, call.input["AutoScalingGroupName"])
            known = table.get(call.account, group.name, name)
            columns = table.columns
            if known is not None:
                self._remove(known)
            elif (
                table.count(columns.account == call.account, columns.group_name == group.name)
                >= _MOST
            ):
                raise AwsError("LimitExceeded", f"A group has up to {_MOST} policies.")
            made = ScalingPolicy(
                account=call.account,
                group_name=group.name,
                name=name,
                id=known.id if known else str(uuid.uuid4()),
                settings=settings,
                state={},
                created_at=self._plane.clock.time(),
            )
            table.add(made)
        scaler_of(self._plane).wake()
        # There are no alarms: a group follows its metric itself.
        return {"PolicyARN": self._arn(made), "Alarms": []}

    def _describe(self, call: Call) -> Document:
        table = self._store.scaling_policies
        conditions = [table.columns.account == call.account]
        if group_name := call.input.get("AutoScalingGroupName"):
            words.group(self._plane, call.account, group_name)
            conditions.append(table.columns.group_name == group_name)
        names, types = call.input.get("PolicyNames"), call.input.get("PolicyTypes")
        found = [
            each
            for each in table.where(*conditions)
            if (not names or each.name in names or self._arn(each) in names)
            and (not types or each.settings["PolicyType"] in types)
        ]
        shown, token = page(
            found, call, lambda each: (each.group_name, each.name),
            size="MaxRecords", most=100, usual=50,
        )  # fmt: skip
        return {"ScalingPolicies": [self._shown(each) for each in shown], "NextToken": token}

    def _shown(self, policy: ScalingPolicy) -> Document:
        return {
            "AutoScalingGroupName": policy.group_name,
            "PolicyName": policy.name,
            "PolicyARN": self._arn(policy),
            **policy.settings,
            "Enabled": policy.settings.get("Enabled", True),
            "Alarms": [],
        }

    def _delete(self, call: Call) -> Document:
        with self._store.transaction():
            _, policy = self._named(call)
            self._remove(policy)
        return {}

    def _remove(self, policy: ScalingPolicy) -> None:
        table = self._store.scaling_policies
        table.remove(
            table.columns.account == policy.account,
            table.columns.group_name == policy.group_name,
            table.columns.name == policy.name,
        )

    def _execute(self, call: Call) -> Document:
        with self._store.transaction():
            group, policy = self._named(call)
            kind = policy.settings["PolicyType"]
            if kind not in {SIMPLE, STEP}:
                raise words.invalid(f"A policy of type {kind} cannot be executed: it is followed.")
            if not policy.settings.get("Enabled", True):
                raise words.invalid(f"The policy {policy.name} is not enabled.")
            change = _change(policy.settings, call.input)
            if kind == SIMPLE and call.input.get("HonorCooldown"):
                usual = group.settings["DefaultCooldown"]
                words.check_cooldown(self._plane, group, policy.settings.get("Cooldown", usual))
            wanted = min(
                max(_adjusted(policy.settings, group.desired, change), group.least), group.most
            )
            what = f"a user request executed policy {policy.name}"
            why = given.cause(self._plane, what, group.desired, wanted)
            if why:
                self._groups.change(group, desired=wanted)
                self._groups.remember(group, cause=why, resized_at=self._plane.clock.time())
        scaler_of(self._plane).wake()
        return {}

    def _named(self, call: Call) -> tuple[ScalingGroup, ScalingPolicy]:
        """The group and the policy that a call names, by its name or by its ARN."""
        name, group_name = call.input["PolicyName"], call.input.get("AutoScalingGroupName")
        table = self._store.scaling_policies
        columns = table.columns
        conditions = [columns.account == call.account]
        if group_name:
            words.changeable(self._plane, call.account, group_name)
            conditions.append(columns.group_name == group_name)
        elif not name.startswith("arn:"):
            raise words.invalid("A policy is named by its ARN, or with its AutoScalingGroupName.")
        for each in table.where(*conditions):
            if name in {each.name, self._arn(each)}:
                return words.changeable(self._plane, call.account, each.group_name), each
        raise words.invalid(f"PolicyName not found - No scaling policy found for {name[:255]}")

    def _arn(self, policy: ScalingPolicy) -> str:
        return (
            f"arn:{PARTITION}:autoscaling:{self._plane.settings.region}:{policy.account}"
            f":scalingPolicy:{policy.id}:autoScalingGroupName/{policy.group_name}"
            f":policyName/{policy.name}"
        )


def _change(settings: Mapping[str, Any], asked: Mapping[str, Any]) -> int:
    """By how much a policy adjusts."""
    numbers = [name for name in ("MetricValue", "BreachThreshold") if name in asked]
    if settings["PolicyType"] == SIMPLE:
        if numbers:
            raise words.invalid(f"{numbers[0]} is for policies of type {STEP}.")
        simple: int = settings["ScalingAdjustment"]
        return simple
    if len(numbers) != 2:
        raise words.invalid(f"Policies of type {STEP} need MetricValue and BreachThreshold.")
    beyond = asked["MetricValue"] - asked["BreachThreshold"]
    for each in settings["StepAdjustments"]:
        low = each.get("MetricIntervalLowerBound", -math.inf)
        high = each.get("MetricIntervalUpperBound", math.inf)
        if low <= beyond < high:
            step: int = each["ScalingAdjustment"]
            return step
    raise words.invalid(f"No step of the policy is for {beyond:g} beyond the threshold.")


def _adjusted(settings: Mapping[str, Any], desired: int, change: int) -> int:
    kind = settings["AdjustmentType"]
    if kind == "ExactCapacity":
        return change
    if kind == "ChangeInCapacity":
        return desired + change
    share = desired * change / 100
    # Towards zero, but never not at all.
    by = math.trunc(share) or (math.copysign(1, share) if share else 0)
    least = settings.get("MinAdjustmentMagnitude", 0)
    if by and abs(by) < least:
        by = math.copysign(least, by)
    return desired + int(by)
