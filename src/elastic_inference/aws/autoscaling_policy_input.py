"""What scaling policies are made with, checked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_tracking import TRACKING
from elastic_inference.aws.errors import unsupported
from elastic_inference.control.metric_values import UNITS

SIMPLE, STEP = "SimpleScaling", "StepScaling"
ADJUSTMENTS = ("ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity")
_METRIC = "TargetTrackingConfiguration.CustomizedMetricSpecification"
HONOURED = (
    "AutoScalingGroupName PolicyName PolicyType AdjustmentType MinAdjustmentMagnitude"
    " ScalingAdjustment Cooldown StepAdjustments EstimatedInstanceWarmup Enabled"
    " TargetTrackingConfiguration.TargetValue TargetTrackingConfiguration.DisableScaleIn"
    f" {_METRIC}.MetricName {_METRIC}.Namespace {_METRIC}.Dimensions {_METRIC}.Statistic"
    f" {_METRIC}.Unit {_METRIC}.Period"
)
_LEAST_TARGET = 2.0**-360
_PERIODS = (10, 30, 60)
# What the policies of each type have: what they need, and what they may have.
_MEMBERS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    SIMPLE: (("AdjustmentType", "ScalingAdjustment"), ("Cooldown", "MinAdjustmentMagnitude")),
    STEP: (("AdjustmentType", "StepAdjustments"), ("MinAdjustmentMagnitude",)),
    TRACKING: (("TargetTrackingConfiguration",), ("EstimatedInstanceWarmup",)),
}
_FOR_ALL = ("AutoScalingGroupName", "PolicyName", "PolicyType", "Enabled")


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's settings.

    Raises:
        AwsError: they are not those of a policy of its type.
    """
    kind = given.get("PolicyType", SIMPLE)
    if kind not in _MEMBERS:
        raise unsupported(f"There are no policies of type {kind[:64]} here.")
    needs, takes = _MEMBERS[kind]
    for name in needs:
        if name not in given:
            raise words.invalid(f"A policy of type {kind} needs {name}.")
    for name, value in given.items():
        # Terraform writes times that are not given as 0, whatever the type is.
        if name not in {*needs, *takes, *_FOR_ALL} and value != 0:
            raise words.invalid(f"A policy of type {kind} has no {name}.")
    for name in ("Cooldown", "EstimatedInstanceWarmup", "MinAdjustmentMagnitude"):
        if given.get(name, 0) < 0:
            raise words.invalid(f"{name} must be 0 or more.")
    if kind == TRACKING:
        _check_tracking(given["TargetTrackingConfiguration"])
    else:
        _check_adjustment(given)
    if kind == STEP:
        _check_steps(given["StepAdjustments"])
    kept = {name: each for name, each in given.items() if name in {*needs, *takes, "Enabled"}}
    return {"PolicyType": kind, **kept}


def _check_adjustment(given: Mapping[str, Any]) -> None:
    kind = given["AdjustmentType"]
    if kind not in ADJUSTMENTS:
        raise words.invalid(f"AdjustmentType is one of {', '.join(ADJUSTMENTS)}.")
    if "MinAdjustmentMagnitude" in given and kind != "PercentChangeInCapacity":
        raise words.invalid("MinAdjustmentMagnitude is for PercentChangeInCapacity.")
    if kind == "ExactCapacity" and given.get("ScalingAdjustment", 0) < 0:
        raise words.invalid("ScalingAdjustment must be 0 or more for ExactCapacity.")


def _check_steps(steps: list[Mapping[str, Any]]) -> None:
    if not steps:
        raise words.invalid("StepAdjustments are 1 or more.")
    bounds = sorted(
        (
            each.get("MetricIntervalLowerBound", -math.inf),
            each.get("MetricIntervalUpperBound", math.inf),
        )
        for each in steps
    )
    if any(low >= high for low, high in bounds):
        raise words.invalid("The lower bound of a step must be less than its upper bound.")
    for (_, before), (after, _) in itertools.pairwise(bounds):
        if before > after:
            raise words.invalid("Steps must not overlap.")
        if before < after:
            raise words.invalid("There must be no gap between steps.")


def _check_tracking(config: Mapping[str, Any]) -> None:
    spec = config.get("CustomizedMetricSpecification")
    if not spec:
        raise words.invalid(
            "Give a CustomizedMetricSpecification: the predefined metrics are of processors,"
            " networks and load balancers, which a pool does not measure."
        )
    if not _LEAST_TARGET <= config["TargetValue"] <= 1 / _LEAST_TARGET:
        raise words.invalid("TargetValue must be above 0, from 2^-360 to 2^360.")
    for name in ("MetricName", "Namespace", "Statistic"):
        if not spec.get(name):
            raise words.invalid(f"A CustomizedMetricSpecification needs {name}.")
    if spec.get("Period", 60) not in _PERIODS:
        raise words.invalid(f"Period is one of {', '.join(map(str, _PERIODS))} seconds.")
    if spec.get("Unit", "None") not in UNITS:
        raise words.invalid(f"There is no unit {spec['Unit'][:64]!r}.")
