"""Scaling policies by boto3, and who may change groups."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elastic_inference.aws.autoscaling_tracking import Tracker
from tests.aws.conftest import Aws
from tests.aws.scaling import (
    client,
    kept,
    make_group,
    make_template,
    refused,
    settled,
    stop_clock,
)

METRIC = {"Namespace": "Web", "MetricName": "load", "Statistic": "Average"}
TARGET = {"TargetValue": 50.0, "CustomizedMetricSpecification": METRIC}
TRACKING: dict[str, Any] = {
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingConfiguration": TARGET,
}
STEPS = [
    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
    {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 3},
]
STEP: dict[str, Any] = {
    "PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS,
}  # fmt: skip


@pytest.fixture
def aws(aws: Aws) -> Aws:
    """A pool with a group that launches nothing."""
    make_template(aws)
    make_group(aws)
    client(aws).suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["Launch"])
    return aws


def put(aws: Aws, name: str = "p", **wanted: Any) -> str:
    arn: str = client(aws).put_scaling_policy(
        AutoScalingGroupName="web", PolicyName=name, **wanted
    )["PolicyARN"]
    return arn


def execute(aws: Aws, name: str = "p", **more: Any) -> int:
    """The group's desired capacity after a policy."""
    client(aws).execute_policy(AutoScalingGroupName="web", PolicyName=name, **more)
    return kept(aws).desired


def test_policies_are_told_as_they_were_put(aws: Aws) -> None:
    scaling = client(aws)
    arn = put(aws, "track", **TRACKING, EstimatedInstanceWarmup=30)
    assert ":scalingPolicy:" in arn
    assert arn.endswith(":autoScalingGroupName/web:policyName/track")
    put(aws, "step", **STEP)
    put(aws, "off", AdjustmentType="ExactCapacity", ScalingAdjustment=2, Enabled=False)
    assert put(aws, "track", **TRACKING) == arn, "it is changed, not another one"
    pages = scaling.get_paginator("describe_policies").paginate(
        AutoScalingGroupName="web", PaginationConfig={"PageSize": 2}
    )
    found = [each for page in pages for each in page["ScalingPolicies"]]
    assert [(each["PolicyName"], each["Enabled"]) for each in found] == [
        ("off", False), ("step", True), ("track", True),
    ]  # fmt: skip
    assert found[2]["TargetTrackingConfiguration"] == TARGET
    assert "EstimatedInstanceWarmup" not in found[2]
    assert found[1]["StepAdjustments"] == STEPS
    for wanted in ({"PolicyNames": [arn]}, {"PolicyTypes": ["TargetTrackingScaling"]}):
        (one,) = scaling.describe_policies(**wanted)["ScalingPolicies"]
        assert one == found[2]
    scaling.delete_policy(PolicyName=arn)
    scaling.delete_policy(AutoScalingGroupName="web", PolicyName="step")
    with refused("ValidationError", "No scaling policy found"):
        scaling.delete_policy(AutoScalingGroupName="web", PolicyName="step")
    with refused("ValidationError", "by its ARN"):
        scaling.delete_policy(PolicyName="off")
    assert len(scaling.describe_policies()["ScalingPolicies"]) == 1
    types = scaling.describe_adjustment_types()["AdjustmentTypes"]
    assert {"AdjustmentType": "PercentChangeInCapacity"} in types


def test_what_is_no_policy_is_refused(aws: Aws) -> None:
    def tracking(**metric: Any) -> dict[str, Any]:
        config = {**TARGET, "CustomizedMetricSpecification": {**METRIC, **metric}}
        return {**TRACKING, "TargetTrackingConfiguration": config}

    def steps(*given: dict[str, Any]) -> dict[str, Any]:
        return {**STEP, "StepAdjustments": [{"ScalingAdjustment": 1, **each} for each in given]}

    low, high = "MetricIntervalLowerBound", "MetricIntervalUpperBound"
    simple = {"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1}
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "needs AdjustmentType"),
        ({"AdjustmentType": "ChangeInCapacity"}, "needs ScalingAdjustment"),
        ({**simple, "AdjustmentType": "Sideways"}, "is one of"),
        ({**simple, "MinAdjustmentMagnitude": 2}, "is for PercentChangeInCapacity"),
        ({"AdjustmentType": "ExactCapacity", "ScalingAdjustment": -1}, "0 or more"),
        ({**simple, "Cooldown": -1}, "Cooldown must be 0 or more"),
        ({**simple, "EstimatedInstanceWarmup": 1}, "has no EstimatedInstanceWarmup"),
        ({**STEP, "Cooldown": 1}, "has no Cooldown"),
        ({**TRACKING, "ScalingAdjustment": 1}, "has no ScalingAdjustment"),
        (steps(), "1 or more"),
        (steps({low: 1.0, high: 1.0}), "less than its upper bound"),
        (steps({high: 1.0}, {low: 0.5}), "overlap"),
        (steps({high: 1.0}, {low: 2.0}), "gap"),
        (tracking(Period=300), "Period is one of"),
        (tracking(Unit="Elephants"), "no unit"),
        (tracking(Namespace=""), "needs Namespace"),
        ({**TRACKING, "TargetTrackingConfiguration": {**TARGET, "TargetValue": 0.0}}, "above 0"),
        ({**TRACKING, "TargetTrackingConfiguration": {"TargetValue": 1.0}}, "does not measure"),
    )
    for wanted, saying in cases:
        with refused("ValidationError", saying):
            put(aws, **wanted)
    with refused("ValidationError", "no colon"):
        put(aws, "a:b", **simple)
    predefined = {"PredefinedMetricType": "ASGAverageCPUUtilization"}
    configs: tuple[dict[str, Any], ...] = (
        {"TargetValue": 1.0, "PredefinedMetricSpecification": predefined},
        {"TargetValue": 1.0, "CustomizedMetricSpecification": {"Metrics": [{"Id": "m"}]}},
    )
    for config in configs:
        with refused("UnsupportedOperation", "not honoured"):
            put(aws, PolicyType="TargetTrackingScaling", TargetTrackingConfiguration=config)
    with refused("UnsupportedOperation", "no policies of type"):
        put(aws, PolicyType="PredictiveScaling")


def test_times_that_a_type_has_not_may_be_nothing(aws: Aws) -> None:
    """Terraform writes them so."""
    put(aws, "track", **TRACKING, Cooldown=0, EstimatedInstanceWarmup=0)
    put(aws, "step", **STEP, Cooldown=0, EstimatedInstanceWarmup=0)
    put(
        aws, "simple", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1,
        EstimatedInstanceWarmup=0,
    )  # fmt: skip


def test_simple_policies_are_executed(aws: Aws) -> None:
    def simple(kind: str, by: int, **more: Any) -> int:
        put(aws, AdjustmentType=kind, ScalingAdjustment=by, **more)
        return execute(aws)

    assert simple("ExactCapacity", 4) == 4
    assert simple("ChangeInCapacity", -1) == 3
    assert simple("ChangeInCapacity", 10) == 5, "the most"
    assert simple("PercentChangeInCapacity", -50) == 3
    assert simple("PercentChangeInCapacity", 10) == 4, "one at least"
    assert simple("PercentChangeInCapacity", -1, MinAdjustmentMagnitude=3) == 1
    assert simple("ChangeInCapacity", -10) == 0, "the least"
    clock = stop_clock(aws)
    put(aws, AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=60)
    with refused("ScalingActivityInProgress"):
        execute(aws, HonorCooldown=True)
    clock.move(60)
    assert execute(aws, HonorCooldown=True) == 1
    with refused("ValidationError", "is for policies of type StepScaling"):
        execute(aws, MetricValue=1.0)
    put(aws, AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Enabled=False)
    with refused("ValidationError", "not enabled"):
        execute(aws)


def test_steps_are_executed(aws: Aws) -> None:
    put(aws, **STEP)
    assert execute(aws, MetricValue=55.0, BreachThreshold=50.0) == 1
    assert execute(aws, MetricValue=60.0, BreachThreshold=50.0) == 4
    with refused("ValidationError", "No step"):
        execute(aws, MetricValue=40.0, BreachThreshold=50.0)
    with refused("ValidationError", "need MetricValue"):
        execute(aws)
    put(aws, "track", **TRACKING)
    with refused("ValidationError", "cannot be executed"):
        execute(aws, "track")


@pytest.mark.slow
def test_a_group_follows_what_is_put_to_cloudwatch(aws: Aws) -> None:
    put(aws, **TRACKING)
    scaling, watch = client(aws), aws.client("cloudwatch")
    scaling.update_auto_scaling_group(AutoScalingGroupName="web", DesiredCapacity=1)
    scaling.resume_processes(AutoScalingGroupName="web")
    settled(aws, 1)
    clock = stop_clock(aws)
    clock.move(600)
    minute = int(clock.time()) // 60 * 60
    watch.put_metric_data(
        Namespace="Web",
        MetricData=[
            {"MetricName": "load", "Value": 150.0, "Timestamp": minute - 60 * ago}
            for ago in (1, 2, 3)
        ],
    )
    Tracker(aws.plane).look(kept(aws))
    settled(aws, 3)
    causes = [
        each["Cause"]
        for each in scaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]
    ]
    assert "the metric of policy p, above its target 50" in causes[0]


# -- who may --------------------------------------------------------------------------------------


def user(aws: Aws, name: str, *statements: dict[str, Any]) -> Any:
    """A client of a user who may do that much."""
    return aws.client("autoscaling", aws.user(name, *statements))


def allow(*actions: str, on: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on}


def test_policies_decide_by_the_group(aws: Aws) -> None:
    arn = f"arn:aws:autoscaling:*:{aws.account}:autoScalingGroup:*:autoScalingGroupName/web"
    mine = user(aws, "one", allow("autoscaling:SetDesiredCapacity", on=arn))
    mine.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    make_group(aws, "other")
    with refused("AccessDenied", "autoscaling:SetDesiredCapacity"):
        mine.set_desired_capacity(AutoScalingGroupName="other", DesiredCapacity=1)
    with refused("AccessDenied", "autoscaling:DescribeAutoScalingGroups"):
        mine.describe_auto_scaling_groups()
    assert kept(aws, "other").desired == 0


def test_a_group_launches_nothing_that_its_maker_could_not(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_instance_profile(InstanceProfileName="app")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    iam.create_role(RoleName="app", AssumeRolePolicyDocument=json.dumps(trust))
    iam.add_role_to_instance_profile(InstanceProfileName="app", RoleName="app")
    make_template(aws, "app", IamInstanceProfile={"Name": "app"})
    wanted = {
        "AutoScalingGroupName": "new", "MinSize": 0, "MaxSize": 1,
        "LaunchTemplate": {"LaunchTemplateName": "app"},
        "AvailabilityZones": [aws.plane.network.zone],
    }  # fmt: skip
    every = allow("autoscaling:*")
    with refused("AccessDenied", "ec2:RunInstances"):
        user(aws, "scales", every).create_auto_scaling_group(**wanted)
    with refused("AccessDenied", "iam:PassRole"):
        user(aws, "runs", every, allow("ec2:RunInstances")).create_auto_scaling_group(**wanted)
    passes = user(aws, "passes", every, allow("ec2:RunInstances", "iam:PassRole"))
    passes.create_auto_scaling_group(**wanted)
    assert kept(aws, "new").settings["LaunchTemplate"]["LaunchTemplateName"] == "app"
