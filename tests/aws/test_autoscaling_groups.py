"""Groups, their instances, tags and processes by boto3; nothing has an accelerator here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from elastic_inference.control import records
from tests.aws.conftest import Aws
from tests.aws.scaling import (
    group_of,
    kept,
    make_group,
    make_template,
    refused,
    settled,
    until,
)
from tests.aws.shapes import assert_shape_like_moto


@pytest.fixture
def aws(aws: Aws) -> Aws:
    make_template(aws)
    return aws


@pytest.fixture
def scaling(aws: Aws) -> Any:
    return aws.client("autoscaling")


def _deleted(aws: Aws) -> None:
    until(lambda: True if aws.plane.store.scaling_groups.count() == 0 else None)


def _activities(scaling: Any, name: str = "web") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scaling.describe_scaling_activities(AutoScalingGroupName=name)[
        "Activities"
    ]
    return found


# -- groups ---------------------------------------------------------------------------------------


def test_a_group_is_told_as_it_was_made(aws: Aws, scaling: Any) -> None:
    subnet = aws.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    template = make_template(aws, "other")
    make_group(
        aws, "all", LaunchTemplate={"LaunchTemplateId": template, "Version": "$Latest"},
        MinSize=0, MaxSize=7, DesiredCapacity=0, DefaultCooldown=10, HealthCheckType="EC2",
        HealthCheckGracePeriod=20, VPCZoneIdentifier=f"{subnet},", MaxInstanceLifetime=86400,
        TerminationPolicies=["NewestInstance", "Default"], NewInstancesProtectedFromScaleIn=True,
        DefaultInstanceWarmup=30, CapacityRebalance=False, DesiredCapacityType="units",
        DeletionProtection="prevent-force-deletion",
        Tags=[{"Key": "a", "Value": "b", "PropagateAtLaunch": True}],
    )  # fmt: skip
    group = group_of(aws, "all")
    arn = group.pop("AutoScalingGroupARN")
    assert arn.startswith(f"arn:aws:autoscaling:us-east-1:{aws.account}:autoScalingGroup:")
    assert arn.endswith(":autoScalingGroupName/all")
    del group["CreatedTime"]
    assert group == {
        "AutoScalingGroupName": "all",
        "MinSize": 0,
        "MaxSize": 7,
        "DesiredCapacity": 0,
        "LaunchTemplate": {
            "LaunchTemplateId": template,
            "LaunchTemplateName": "other",
            "Version": "$Latest",
        },
        "DefaultCooldown": 10,
        "AvailabilityZones": [aws.plane.network.zone],
        "HealthCheckType": "EC2",
        "HealthCheckGracePeriod": 20,
        "VPCZoneIdentifier": subnet,
        "TerminationPolicies": ["NewestInstance", "Default"],
        "NewInstancesProtectedFromScaleIn": True,
        "MaxInstanceLifetime": 86400,
        "DefaultInstanceWarmup": 30,
        "DeletionProtection": "prevent-force-deletion",
        "CapacityRebalance": False,
        "LoadBalancerNames": [],
        "TargetGroupARNs": [],
        "TrafficSources": [],
        "EnabledMetrics": [],
        "Instances": [],
        "SuspendedProcesses": [],
        "Tags": [
            {
                "ResourceId": "all",
                "ResourceType": "auto-scaling-group",
                "Key": "a",
                "Value": "b",
                "PropagateAtLaunch": True,
            }
        ],
    }
    with refused("ValidationError", "deletion protection"):
        scaling.delete_auto_scaling_group(AutoScalingGroupName="all", ForceDelete=True)
    scaling.delete_auto_scaling_group(AutoScalingGroupName="all")
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


NO_GROUPS: list[tuple[dict[str, Any], str]] = [
    ({"MinSize": 3, "MaxSize": 2}, "Max bound, 2"),
    ({"MinSize": -1}, "0 or more"),
    ({"DesiredCapacity": 6}, "Desired capacity:6 must be between"),
    ({"LaunchTemplate": {"LaunchTemplateName": "nothing"}}, "valid fully-formed"),
    ({"LaunchTemplate": {"LaunchTemplateName": "web", "Version": "9"}}, "valid fully-formed"),
    ({"LaunchTemplate": {"Version": "1"}}, "launchTemplateId or LaunchTemplateName"),
    ({"AvailabilityZones": ["mars-1a"]}, "Invalid availability zones"),
    ({"AvailabilityZones": []}, "At least one Availability Zone or VPC Subnet"),
    ({"VPCZoneIdentifier": "subnet-1"}, "The subnet ID 'subnet-1' does not exist"),
    ({"HealthCheckType": "ELB"}, "no load balancers"),
    ({"CapacityRebalance": True}, "no Spot Instances"),
    ({"DesiredCapacityType": "vcpu"}, "counted in instances"),
    (
        {"AvailabilityZoneDistribution": {"CapacityDistributionStrategy": "balanced-only"}},
        "only be balanced-best-effort here, since there is one zone",
    ),
    ({"TerminationPolicies": ["OldestLaunchConfiguration"]}, "none of Default"),
    ({"DefaultCooldown": -1}, "0 or more"),
    ({"HealthCheckGracePeriod": -1}, "0 or more"),
    ({"MaxInstanceLifetime": 60}, "86400"),
    ({"Tags": [{"Key": "aws:x"}]}, "reserved"),
    ({"Tags": [{"Key": "x"}, {"Key": "x"}]}, "Duplicate"),
    ({"Tags": [{"Key": "x", "ResourceId": "other"}]}, "group's name"),
    ({"Tags": [{"Key": "x", "ResourceType": "instance"}]}, "auto-scaling-group"),
]
NOT_HEEDED: list[dict[str, Any]] = [
    {"LaunchConfigurationName": "old"},
    {"InstanceId": "i-1"},
    {"TargetGroupARNs": ["arn:aws:elasticloadbalancing:x"]},
    {"LoadBalancerNames": ["lb"]},
    {"PlacementGroup": "near"},
    {"ServiceLinkedRoleARN": "arn:aws:iam::1:role/x"},
    {"MixedInstancesPolicy": {"InstancesDistribution": {"SpotMaxPrice": "1"}}},
    {"InstanceMaintenancePolicy": {"MinHealthyPercentage": 90}},
    {"LifecycleHookSpecificationList": [
        {"LifecycleHookName": "h", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
    ]},
]  # fmt: skip


def test_what_is_no_group_is_refused(aws: Aws, scaling: Any) -> None:
    for wanted, saying in NO_GROUPS:
        with refused("ValidationError", saying):
            make_group(aws, **wanted)
    for wanted in NOT_HEEDED:
        with refused("UnsupportedOperation", next(iter(wanted))):
            make_group(aws, **wanted)
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_a_template_that_says_too_little_is_refused(aws: Aws) -> None:
    aws.client("ec2").create_launch_template(
        LaunchTemplateName="little", LaunchTemplateData={"InstanceType": "m5.large"}
    )
    with refused("ValidationError", "valid fully-formed launch template"):
        make_group(aws, LaunchTemplate={"LaunchTemplateName": "little"})


def test_a_name_is_taken_once(aws: Aws) -> None:
    make_group(aws)
    with refused("AlreadyExists", "web already exists"):
        make_group(aws)


def test_what_is_not_there_is_named(aws: Aws, scaling: Any) -> None:
    one = {"AutoScalingGroupName": "no"}
    calls: tuple[Callable[[], Any], ...] = (
        lambda: scaling.update_auto_scaling_group(**one),
        lambda: scaling.delete_auto_scaling_group(**one),
        lambda: scaling.set_desired_capacity(**one, DesiredCapacity=1),
        lambda: scaling.suspend_processes(**one),
        lambda: scaling.attach_instances(**one, InstanceIds=["i-1"]),
        lambda: scaling.describe_policies(**one),
        lambda: scaling.describe_scaling_activities(**one),
    )
    for call in calls:
        with refused("ValidationError", "AutoScalingGroup 'no' not found"):
            call()
    assert (
        scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["no"])["AutoScalingGroups"]
        == []
    )
    instance = {"InstanceId": "i-1", "ShouldDecrementDesiredCapacity": False}
    with refused("ValidationError", "No managed instance found for instance ID: i-1"):
        scaling.terminate_instance_in_auto_scaling_group(**instance)
    with refused("InvalidAction"):
        scaling.describe_launch_configurations()
    make_group(aws)
    with refused("ValidationError", "not part of"):
        scaling.detach_instances(
            AutoScalingGroupName="web", InstanceIds=["i-1"], ShouldDecrementDesiredCapacity=True
        )


def test_groups_are_found_page_by_page_and_by_tags(aws: Aws, scaling: Any) -> None:
    for number in range(5):
        tag = {"Key": "kind", "Value": f"{number % 2}"}
        make_group(aws, f"g{number}", Tags=[tag])
    pages = scaling.get_paginator("describe_auto_scaling_groups").paginate(
        PaginationConfig={"PageSize": 2}
    )
    found = [[each["AutoScalingGroupName"] for each in page["AutoScalingGroups"]] for page in pages]
    assert found == [["g0", "g1"], ["g2", "g3"], ["g4"]]
    for filters in (
        [{"Name": "tag:kind", "Values": ["1"]}],
        [{"Name": "tag-value", "Values": ["1"]}, {"Name": "tag-key", "Values": ["kind"]}],
    ):
        groups = scaling.describe_auto_scaling_groups(Filters=filters)["AutoScalingGroups"]
        assert [each["AutoScalingGroupName"] for each in groups] == ["g1", "g3"]
    with refused("InvalidNextToken"):
        scaling.describe_auto_scaling_groups(NextToken="x")
    assert scaling.describe_account_limits()["NumberOfAutoScalingGroups"] == 5


def test_sizes_follow_each_other(aws: Aws, scaling: Any) -> None:
    make_group(aws, MinSize=0, MaxSize=5, DesiredCapacity=0)
    scaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["Launch"])

    def update(**wanted: int) -> tuple[int, int, int]:
        scaling.update_auto_scaling_group(AutoScalingGroupName="web", **wanted)
        group = kept(aws)
        return group.least, group.most, group.desired

    assert update(MinSize=2) == (2, 5, 2)
    assert update(DesiredCapacity=4) == (2, 5, 4)
    assert update(MaxSize=3) == (2, 3, 3)
    with refused("ValidationError", "must be between"):
        update(DesiredCapacity=4)
    with refused("ValidationError", "above max value 3"):
        scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=4)
    with refused("ValidationError", "below min value 2"):
        scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    with refused("ScalingActivityInProgress"):
        scaling.set_desired_capacity(
            AutoScalingGroupName="web", DesiredCapacity=2, HonorCooldown=True
        )
    scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    assert kept(aws).desired == 2


def test_settings_change_one_by_one(aws: Aws, scaling: Any) -> None:
    make_group(aws, DefaultInstanceWarmup=60, HealthCheckGracePeriod=7)
    scaling.update_auto_scaling_group(
        AutoScalingGroupName="web", DefaultInstanceWarmup=-1, DefaultCooldown=5
    )
    group = group_of(aws)
    assert "DefaultInstanceWarmup" not in group
    assert (group["DefaultCooldown"], group["HealthCheckGracePeriod"]) == (5, 7)
    other = make_template(aws, "other")
    scaling.update_auto_scaling_group(
        AutoScalingGroupName="web", LaunchTemplate={"LaunchTemplateId": other, "Version": "1"}
    )
    assert group_of(aws)["LaunchTemplate"]["Version"] == "1"


# -- instances ------------------------------------------------------------------------------------


def test_a_group_grows_and_shrinks(aws: Aws, scaling: Any) -> None:
    subnets = [each["SubnetId"] for each in aws.client("ec2").describe_subnets()["Subnets"]]
    make_group(
        aws, DesiredCapacity=2, VPCZoneIdentifier=subnets[0],
        Tags=[
            {"Key": "Name", "Value": "w", "PropagateAtLaunch": True},
            {"Key": "own", "Value": "x", "PropagateAtLaunch": False},
        ],
    )  # fmt: skip
    first = settled(aws, 2)
    instance = aws.plane.instance(first[0])
    assert instance.tags["Name"] == "w"
    assert "own" not in instance.tags
    assert instance.subnet_id == subnets[0]
    (shown, _) = group_of(aws)["Instances"]
    assert shown == {
        "InstanceId": shown["InstanceId"],
        "InstanceType": "m5.large",
        "ImageId": instance.ec2["ImageId"],
        "AvailabilityZone": aws.plane.network.zone,
        "LifecycleState": "InService",
        "HealthStatus": "Healthy",
        "LaunchTemplate": {
            **group_of(aws)["LaunchTemplate"],
            "Version": "1",
        },
        "ProtectedFromScaleIn": False,
    }
    scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)
    three = settled(aws, 3)
    scaling.set_instance_protection(
        AutoScalingGroupName="web", InstanceIds=[first[0]], ProtectedFromScaleIn=True
    )
    scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    assert settled(aws, 1) == [first[0]]
    assert set(three) > {first[0]}
    pages = scaling.get_paginator("describe_scaling_activities").paginate(
        AutoScalingGroupName="web", PaginationConfig={"PageSize": 2}
    )
    found = [each for page in pages for each in page["Activities"]]
    assert [each["StatusCode"] for each in found] == ["Successful"] * 5
    assert "shrinking the capacity from 3 to 1" in found[0]["Cause"]
    assert "explicitly set group desired capacity" in found[0]["Cause"]
    (one,) = scaling.describe_scaling_activities(ActivityIds=[found[2]["ActivityId"]])["Activities"]
    assert one == found[2]
    for filters, count in (
        ([{"Name": "Status", "Values": ["Failed"]}], 0),
        ([{"Name": "StartTimeLowerBound", "Values": ["2020-01-01T00:00:00Z"]}], 5),
        ([{"Name": "StartTimeUpperBound", "Values": ["2020-01-01T00:00:00Z"]}], 0),
    ):
        got = scaling.describe_scaling_activities(AutoScalingGroupName="web", Filters=filters)
        assert len(got["Activities"]) == count
    for bad in (
        {"Name": "Color", "Values": ["x"]},
        {"Name": "StartTimeLowerBound", "Values": ["x"]},
    ):
        with refused("ValidationError"):
            scaling.describe_scaling_activities(AutoScalingGroupName="web", Filters=[bad])


def test_an_instance_is_ended_in_its_group(aws: Aws, scaling: Any) -> None:
    make_group(aws, MinSize=1, DesiredCapacity=2)
    one, other = settled(aws, 2)
    end = scaling.terminate_instance_in_auto_scaling_group
    activity = end(InstanceId=one, ShouldDecrementDesiredCapacity=True)["Activity"]
    assert activity["StatusCode"] == "InProgress"
    assert activity["Description"] == f"Terminating EC2 instance: {one}"
    assert "shrinking the capacity from 2 to 1" in activity["Cause"]
    assert settled(aws, 1) == [other]
    with refused("ValidationError", "violate group's min size"):
        end(InstanceId=other, ShouldDecrementDesiredCapacity=True)
    end(InstanceId=other, ShouldDecrementDesiredCapacity=False)
    until(lambda: True if other not in settled(aws, 1) else None)
    assert aws.plane.instance(other).state == records.TERMINATED


def test_unhealthy_ones_are_replaced_after_the_grace(aws: Aws, scaling: Any) -> None:
    make_group(aws, DesiredCapacity=1, HealthCheckGracePeriod=3600)
    (one,) = settled(aws, 1)
    with refused("ValidationError", "Healthy, Unhealthy"):
        scaling.set_instance_health(InstanceId=one, HealthStatus="Ill")
    scaling.set_instance_health(InstanceId=one, HealthStatus="Unhealthy")
    assert settled(aws, 1) == [one]
    scaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["ReplaceUnhealthy"])
    scaling.set_instance_health(
        InstanceId=one, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False
    )
    (shown,) = scaling.describe_auto_scaling_instances()["AutoScalingInstances"]
    assert (shown["HealthStatus"], shown["LifecycleState"]) == ("UNHEALTHY", "InService")
    scaling.resume_processes(AutoScalingGroupName="web")
    until(lambda: True if settled(aws, 1) != [one] else None)
    assert "user health-check" in " ".join(each["Cause"] for each in _activities(scaling))


def test_stopped_by_ec2_is_replaced(aws: Aws) -> None:
    make_group(aws, DesiredCapacity=1)
    (one,) = settled(aws, 1)
    aws.client("ec2").stop_instances(InstanceIds=[one])
    until(lambda: True if settled(aws, 1) != [one] else None)
    until(lambda: True if aws.plane.instance(one).state == records.TERMINATED else None)


def test_attached_detached_and_put_aside(aws: Aws, scaling: Any) -> None:
    make_group(aws, MaxSize=2, DesiredCapacity=1)
    (one,) = settled(aws, 1)
    outside = aws.plane.run_instance([], provider=records.LOCAL)[0].id
    both = {"AutoScalingGroupName": "web", "InstanceIds": [outside]}
    scaling.attach_instances(**both)
    assert settled(aws, 2) == sorted([one, outside])
    with refused("ValidationError", "above its max size 2"):
        scaling.attach_instances(AutoScalingGroupName="web", InstanceIds=["i-1"])
    fewer = {"ShouldDecrementDesiredCapacity": True}
    (activity,) = scaling.enter_standby(**both, **fewer)["Activities"]
    assert activity["Description"] == f"Moving EC2 instance to Standby: {outside}"
    states = {each["InstanceId"]: each["LifecycleState"] for each in group_of(aws)["Instances"]}
    assert (states, kept(aws).desired) == ({one: "InService", outside: "Standby"}, 1)
    with refused("ValidationError", "already part of"):
        scaling.attach_instances(**both)
    with refused("ValidationError", "is not in InService"):
        scaling.enter_standby(**both, **fewer)
    scaling.exit_standby(**both)
    assert kept(aws).desired == 2
    scaling.detach_instances(**both, **fewer)
    assert settled(aws, 1) == [one]
    assert aws.plane.instance(outside).state == records.RUNNING
    with refused("ValidationError", "Invalid Instance ID"):
        scaling.attach_instances(AutoScalingGroupName="web", InstanceIds=["i-1"])


def test_a_group_with_instances_is_deleted_by_force_alone(aws: Aws, scaling: Any) -> None:
    make_group(aws, DesiredCapacity=2)
    ids = settled(aws, 2)
    with refused("ResourceInUse", "while there are instances"):
        scaling.delete_auto_scaling_group(AutoScalingGroupName="web")
    scaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    _deleted(aws)
    assert {aws.plane.instance(each).state for each in ids} == {records.TERMINATED}
    assert aws.plane.store.scaling_members.count() == 0
    found = scaling.describe_scaling_activities(
        AutoScalingGroupName="web", IncludeDeletedGroups=True
    )["Activities"]
    assert {each["AutoScalingGroupState"] for each in found} == {"Deleted"}
    assert scaling.describe_scaling_activities()["Activities"] == []


# -- tags and processes ---------------------------------------------------------------------------


def _tag(key: str, value: str | None = None, group: str = "web", **more: Any) -> dict[str, Any]:
    found = {"ResourceId": group, "ResourceType": "auto-scaling-group", "Key": key, **more}
    return found if value is None else {**found, "Value": value}


def test_tags_are_put_found_and_deleted(aws: Aws, scaling: Any) -> None:
    make_group(aws)
    make_group(aws, "two")
    scaling.create_or_update_tags(
        Tags=[_tag("a", "1"), _tag("b", "2", PropagateAtLaunch=True), _tag("a", "3", "two")]
    )
    scaling.create_or_update_tags(Tags=[_tag("a", "4")])

    def found(*filters: tuple[str, str]) -> list[tuple[str, str, str]]:
        given = [{"Name": name, "Values": [value]} for name, value in filters]
        pages = scaling.get_paginator("describe_tags").paginate(
            Filters=given, PaginationConfig={"PageSize": 1}
        )
        tags = [each for page in pages for each in page["Tags"]]
        return [(each["ResourceId"], each["Key"], each["Value"]) for each in tags]

    assert found() == [("two", "a", "3"), ("web", "a", "4"), ("web", "b", "2")]
    assert found(("auto-scaling-group", "two")) == [("two", "a", "3")]
    assert found(("key", "a"), ("value", "4")) == [("web", "a", "4")]
    assert found(("propagate-at-launch", "true")) == [("web", "b", "2")]
    with refused("ValidationError", "Allowed Filter types"):
        found(("color", "red"))
    scaling.delete_tags(Tags=[_tag("a", "other"), _tag("b"), _tag("c")])
    assert found(("auto-scaling-group", "web")) == [("web", "a", "4")]
    for wrong in (_tag("a", group="no"), {"Key": "a"}, _tag("a") | {"ResourceType": "instance"}):
        with refused("ValidationError"):
            scaling.create_or_update_tags(Tags=[wrong])
    with refused("LimitExceeded"):
        scaling.create_or_update_tags(Tags=[_tag(f"k{number}") for number in range(50)])


def test_processes_are_suspended_and_resumed(aws: Aws, scaling: Any) -> None:
    make_group(aws)
    some = {"AutoScalingGroupName": "web", "ScalingProcesses": ["Launch", "Terminate"]}
    scaling.suspend_processes(**some)
    suspended = group_of(aws)["SuspendedProcesses"]
    assert [each["ProcessName"] for each in suspended] == ["Launch", "Terminate"]
    assert suspended[0]["SuspensionReason"].startswith("User suspended at 20")
    scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaling.resume_processes(**some | {"ScalingProcesses": ["Launch"]})
    settled(aws, 1)
    assert [each["ProcessName"] for each in group_of(aws)["SuspendedProcesses"]] == ["Terminate"]
    with refused("ValidationError", "is no process"):
        scaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["Sleep"])
    types = [each["ProcessName"] for each in scaling.describe_scaling_process_types()["Processes"]]
    scaling.suspend_processes(AutoScalingGroupName="web")
    assert [each["ProcessName"] for each in group_of(aws)["SuspendedProcesses"]] == sorted(types)
    policies = scaling.describe_termination_policy_types()["TerminationPolicyTypes"]
    assert "NewestInstance" in policies


# -- beside moto ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_shapes_are_motos(aws: Aws) -> None:
    lacks = {
        "AutoScalingGroups.ServiceLinkedRoleARN": "groups act by themselves, by no role",
        "Activity.EndTime": "it has not ended yet",
    }

    def steps(clients: Any) -> Any:
        ec2, scaling = clients("ec2"), clients("autoscaling")
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        ec2.create_launch_template(
            LaunchTemplateName="moto",
            LaunchTemplateData={"ImageId": image, "InstanceType": "m5.large"},
        )
        scaling.create_auto_scaling_group(
            AutoScalingGroupName="moto",
            LaunchTemplate={"LaunchTemplateName": "moto", "Version": "$Latest"},
            MinSize=0, MaxSize=3, DesiredCapacity=1, AvailabilityZones=["us-east-1a"],
            Tags=[_tag("a", "b", "moto", PropagateAtLaunch=True)],
        )  # fmt: skip
        until(lambda: scaling.describe_auto_scaling_instances()["AutoScalingInstances"] or None)
        scaling.suspend_processes(AutoScalingGroupName="moto", ScalingProcesses=["AZRebalance"])
        scaling.put_scaling_policy(
            AutoScalingGroupName="moto", PolicyName="up", PolicyType="SimpleScaling",
            AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=60,
        )  # fmt: skip
        (instance,) = scaling.describe_auto_scaling_instances()["AutoScalingInstances"]
        end = scaling.terminate_instance_in_auto_scaling_group
        return {
            "AutoScalingGroups": scaling.describe_auto_scaling_groups()["AutoScalingGroups"],
            "AutoScalingInstances": [instance],
            "Tags": scaling.describe_tags()["Tags"],
            "ScalingPolicies": scaling.describe_policies()["ScalingPolicies"],
            "Activity": end(InstanceId=instance["InstanceId"], ShouldDecrementDesiredCapacity=True)[
                "Activity"
            ],
        }

    assert_shape_like_moto(aws.client, steps, lacks)
