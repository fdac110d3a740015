"""Instances by boto3: described, started, stopped, rebooted, ended, changed."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from elastic_inference.control import records
from tests.aws.conftest import Aws
from tests.aws.launching import client, one, request, run, settle
from tests.aws.refusals import refused
from tests.aws.shapes import assert_shape_like_moto

NOBODY = "i-0123456789abcdef0"


def note(aws: Aws, number: int, **fields: Any) -> str:
    """An instance as the store has it, which nothing stands behind."""
    known = {"id": f"i-{number:017x}", "provider": records.HOST, "created_at": float(number)}
    instance = records.Instance(**{"state": records.RUNNING, **known, **fields})
    with aws.plane.store.transaction():
        aws.plane.store.instances.add(instance)
    return instance.id


def states(answer: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["PreviousState"]["Name"], each["CurrentState"]["Name"]) for each in answer]


def test_stop_and_start_with_an_accelerator(aws: Aws) -> None:
    ec2 = client(aws)
    (name,) = run(aws, ElasticInferenceAccelerators=[{"Type": "eia1.medium"}])
    before = aws.plane.store.accelerators_of(name)[0].id
    assert states(ec2.stop_instances(InstanceIds=[name])["StoppingInstances"]) == [
        ("running", "stopping")
    ]
    settle(aws, name)
    stopped = one(aws, name)
    assert stopped["State"]["Name"] == "stopped"
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert "ElasticInferenceAcceleratorAssociations" not in stopped
    assert states(ec2.stop_instances(InstanceIds=[name])["StoppingInstances"]) == [
        ("stopped", "stopped")
    ]
    assert states(ec2.start_instances(InstanceIds=[name])["StartingInstances"]) == [
        ("stopped", "pending")
    ]
    settle(aws, name)
    running = one(aws, name)
    assert running["State"]["Name"] == "running"
    assert "StateReason" not in running
    (association,) = running["ElasticInferenceAcceleratorAssociations"]
    assert not association["ElasticInferenceAcceleratorArn"].endswith(before)
    assert states(ec2.start_instances(InstanceIds=[name])["StartingInstances"]) == [
        ("running", "running")
    ]
    ec2.reboot_instances(InstanceIds=[name])
    assert one(aws, name)["State"]["Name"] == "running"


def test_one_that_is_ended_while_it_starts_is_gone(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    start = aws.plane.fleet.start

    def slowly(*order: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        start(*order)

    monkeypatch.setattr(aws.plane.fleet, "start", slowly)
    ec2 = client(aws)
    (instance,) = ec2.run_instances(
        **request(ElasticInferenceAccelerators=[{"Type": "eia1.medium"}])
    )["Instances"]
    name = instance["InstanceId"]
    assert begun.wait(60)
    assert states(ec2.terminate_instances(InstanceIds=[name])["TerminatingInstances"]) == [
        ("pending", "shutting-down")
    ]
    go_on.set()
    settle(aws, name)
    assert one(aws, name)["State"]["Name"] == "terminated"
    assert aws.plane.store.accelerators.where() == []
    assert aws.plane.store.usage.where() == []


def test_several_are_ended_together_and_again(aws: Aws) -> None:
    ec2 = client(aws)
    ids = run(aws, MinCount=2, MaxCount=2)
    answer = ec2.terminate_instances(InstanceIds=ids)["TerminatingInstances"]
    assert states(answer) == [("running", "shutting-down")] * 2
    settle(aws, *ids)
    answer = ec2.terminate_instances(InstanceIds=ids)["TerminatingInstances"]
    assert states(answer) == [("terminated", "terminated")] * 2
    for change in (ec2.start_instances, ec2.stop_instances, ec2.reboot_instances):
        with refused("IncorrectInstanceState"):
            change(InstanceIds=ids)


def test_what_is_not_there_cannot_be_changed(aws: Aws) -> None:
    ec2 = client(aws)
    (name,) = run(aws)
    calls = (
        ec2.start_instances,
        ec2.stop_instances,
        ec2.reboot_instances,
        ec2.terminate_instances,
        ec2.describe_instances,
        ec2.describe_instance_status,
    )
    for call in calls:
        with refused("InvalidInstanceID.NotFound", NOBODY):
            call(InstanceIds=[name, NOBODY])
        with refused("InvalidInstanceID.Malformed"):
            call(InstanceIds=["i-x"])
    assert one(aws, name)["State"]["Name"] == "running"
    with refused("UnsupportedOperation"):
        ec2.stop_instances(InstanceIds=[name], Hibernate=True)
    with refused("UnsupportedOperation"):
        ec2.start_instances(InstanceIds=[name], AdditionalInfo="x")


def test_one_of_ei_run_cannot_be_stopped(aws: Aws) -> None:
    name = note(aws, 1, provider=records.COMMAND)
    with refused("UnsupportedOperation"):
        client(aws).stop_instances(InstanceIds=[name])
    with refused("IncorrectInstanceState"):
        client(aws).reboot_instances(InstanceIds=[name])


def test_only_ones_own_instances_may_be_changed(aws: Aws) -> None:
    mine, other = note(aws, 1), note(aws, 2)
    arn = f"arn:aws:ec2:{aws.region}:{aws.account}:instance/{mine}"
    key = aws.user(
        "ann",
        {"Effect": "Allow", "Action": "ec2:TerminateInstances", "Resource": arn},
        {"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"},
    )
    ec2 = aws.client("ec2", key=key)
    with refused("UnauthorizedOperation", status=403):
        ec2.terminate_instances(InstanceIds=[mine, other])
    ec2.terminate_instances(InstanceIds=[mine])
    with refused("UnauthorizedOperation", status=403):
        ec2.describe_instance_status()
    found = {
        each["InstanceId"]: each["State"]["Name"]
        for page in ec2.describe_instances()["Reservations"]
        for each in page["Instances"]
    }
    assert found[other] == "running"


def test_protection_from_ends_and_stops(aws: Aws) -> None:
    ec2 = client(aws)
    (name,) = run(aws, DisableApiTermination=True)
    with refused("OperationNotPermitted", "disableApiTermination"):
        ec2.terminate_instances(InstanceIds=[name])
    ec2.modify_instance_attribute(InstanceId=name, DisableApiStop={"Value": True})
    with refused("OperationNotPermitted", "disableApiStop"):
        ec2.stop_instances(InstanceIds=[name])
    attribute = ec2.describe_instance_attribute(InstanceId=name, Attribute="disableApiStop")
    assert attribute["DisableApiStop"] == {"Value": True}
    ec2.modify_instance_attribute(InstanceId=name, Attribute="disableApiTermination", Value="False")
    ec2.terminate_instances(InstanceIds=[name])
    settle(aws, name)
    with refused("IncorrectInstanceState"):
        ec2.modify_instance_attribute(InstanceId=name, DisableApiStop={"Value": True})


def test_attributes_are_told_and_changed(aws: Aws) -> None:
    ec2 = client(aws)
    (name,) = run(aws)

    def attribute(wanted: str) -> Mapping[str, Any]:
        answer = ec2.describe_instance_attribute(InstanceId=name, Attribute=wanted)
        assert answer["InstanceId"] == name
        return {
            key: value
            for key, value in answer.items()
            if key not in {"InstanceId", "ResponseMetadata"}
        }

    assert attribute("instanceType") == {"InstanceType": {"Value": "m5.large"}}
    assert attribute("disableApiTermination") == {"DisableApiTermination": {"Value": False}}
    assert attribute("instanceInitiatedShutdownBehavior") == {
        "InstanceInitiatedShutdownBehavior": {"Value": "stop"}
    }
    assert attribute("rootDeviceName") == {"RootDeviceName": {"Value": "/dev/sda1"}}
    assert attribute("userData") == {"UserData": {}}
    assert attribute("groupSet")["Groups"][0]["GroupName"] == "default"
    for empty in ("kernel", "ramdisk", "blockDeviceMapping", "productCodes"):
        assert not any(attribute(empty).values())
    with refused("UnsupportedOperation"):
        attribute("sriovNetSupport")
    with refused("IncorrectInstanceState"):
        ec2.modify_instance_attribute(InstanceId=name, InstanceType={"Value": "c5.large"})
    ec2.stop_instances(InstanceIds=[name])
    settle(aws, name)
    ec2.modify_instance_attribute(InstanceId=name, InstanceType={"Value": "c5.large"})
    assert one(aws, name)["InstanceType"] == "c5.large"
    with refused("Unsupported"):
        ec2.modify_instance_attribute(InstanceId=name, InstanceType={"Value": "p2.xlarge"})


def test_an_instance_changes_its_groups(aws: Aws) -> None:
    ec2 = client(aws)
    (name,) = run(aws)
    vpc = one(aws, name)["VpcId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    ec2.modify_instance_attribute(InstanceId=name, Groups=[group])
    assert [each["GroupName"] for each in one(aws, name)["SecurityGroups"]] == ["g"]
    other = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    foreign = ec2.create_security_group(GroupName="f", Description="d", VpcId=other)["GroupId"]
    with refused("InvalidParameter"):
        ec2.modify_instance_attribute(InstanceId=name, Groups=[foreign])


def test_one_attribute_is_changed_at_a_time(aws: Aws) -> None:
    ec2, name = client(aws), note(aws, 1)
    with refused("MissingParameter"):
        ec2.modify_instance_attribute(InstanceId=name)
    with refused("InvalidParameterCombination"):
        ec2.modify_instance_attribute(
            InstanceId=name, DisableApiStop={"Value": True}, DisableApiTermination={"Value": True}
        )
    with refused("InvalidParameterValue"):
        ec2.modify_instance_attribute(InstanceId=name, Attribute="disableApiStop", Value="maybe")
    with refused("UnsupportedOperation"):
        ec2.modify_instance_attribute(InstanceId=name, Attribute="kernel", Value="x")
    with refused("UnsupportedOperation"):
        ec2.modify_instance_attribute(InstanceId=name, SourceDestCheck={"Value": False})


def test_the_metadata_service_may_be_made_stricter(aws: Aws) -> None:
    ec2, name = client(aws), note(aws, 1)
    answer = ec2.modify_instance_metadata_options(InstanceId=name, HttpTokens="required")
    assert answer["InstanceMetadataOptions"]["HttpTokens"] == "required"
    assert answer["InstanceMetadataOptions"]["State"] == "applied"
    assert one(aws, name)["MetadataOptions"]["HttpTokens"] == "required"
    with refused("UnsupportedOperation"):
        ec2.modify_instance_metadata_options(InstanceId=name, HttpEndpoint="disabled")


def test_user_data_of_a_stopped_instance_changes(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    ec2, name = client(aws), note(aws, 1, state=records.STOPPED)
    if not aws.plane.compute or not aws.plane.compute.isolated:
        with refused("UnsupportedOperation", "runs no user data"):
            ec2.modify_instance_attribute(InstanceId=name, UserData={"Value": b"true"})
        monkeypatch.setattr(type(aws.plane.compute), "isolated", True)
    ec2.modify_instance_attribute(InstanceId=name, UserData={"Value": b"echo hello"})
    found = ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")
    assert base64.b64decode(found["UserData"]["Value"]) == b"echo hello"


def test_types_that_burst_on_aws_do_so_without_end(aws: Aws) -> None:
    ec2 = client(aws)
    burst = note(aws, 1, account=aws.account, ec2={"InstanceType": "t3.medium"})
    other = note(aws, 2, account=aws.account, ec2={"InstanceType": "m5.large"})
    found = [{"InstanceId": burst, "CpuCredits": "unlimited"}]
    for wanted in (
        {}, {"InstanceIds": [burst, other]},
        {"Filters": [{"Name": "instance-id", "Values": [burst]}]},
    ):  # fmt: skip
        answer = ec2.describe_instance_credit_specifications(**wanted)
        assert answer["InstanceCreditSpecifications"] == found
    with refused("InvalidInstanceID.NotFound"):
        ec2.describe_instance_credit_specifications(InstanceIds=[NOBODY])


def test_status_of_those_that_run_and_of_all(aws: Aws) -> None:
    ec2 = client(aws)
    running, stopped = note(aws, 1), note(aws, 2, state=records.STOPPED)
    starting = note(aws, 3, state=records.PENDING, provider=records.LOCAL)
    silent = note(aws, 4, seen_at=1.0)
    found = ec2.describe_instance_status()["InstanceStatuses"]
    assert {each["InstanceId"]: each["InstanceStatus"]["Status"] for each in found} == {
        running: "ok",
        silent: "impaired",
    }
    everything = ec2.describe_instance_status(IncludeAllInstances=True)["InstanceStatuses"]
    assert {each["InstanceId"]: each["SystemStatus"]["Status"] for each in everything} == {
        running: "ok",
        silent: "impaired",
        stopped: "not-applicable",
        starting: "initializing",
    }
    impaired = [{"Name": "instance-status.status", "Values": ["impaired"]}]
    found = ec2.describe_instance_status(Filters=impaired)["InstanceStatuses"]
    assert [each["InstanceId"] for each in found] == [silent]
    assert ec2.describe_instance_status(InstanceIds=[stopped])["InstanceStatuses"] == []
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[running])
    paged = ec2.get_paginator("describe_instance_status").paginate(
        IncludeAllInstances=True, PaginationConfig={"PageSize": 1}
    )
    assert sum(len(each["InstanceStatuses"]) for each in paged) == 4


_FILTERED: list[tuple[str, str, set[int]]] = [
    ("instance-state-name", "stopped", {2}),
    ("instance-state-code", "16", {1, 3}),
    ("tag:team", "vis*", {1}),
    ("tag-key", "team", {1, 2}),
    ("instance-type", "m5.*", {1}),
    ("image-id", "ami-1", {1}),
    ("key-name", "?ine", {1}),
    ("instance-id", "i-00000000000000003", {3}),
    ("private-ip-address", "10.0.0.2", {2}),
    ("reservation-id", "r-00000000000000003", {3}),
    ("client-token", "once", {1}),
    ("launch-index", "1", {1}),
    ("availability-zone", "us-east-1a", {1, 2, 3}),
    ("architecture", "arm64", set()),
    ("state-reason-code", "Server.*", {2}),
    ("iam-instance-profile.arn", "*:instance-profile/elastic-inference", {3}),
    ("instance.group-id", "sg-1", {2}),
    ("owner-id", "*", {1, 2, 3}),
    ("platform", "windows", set()),
]


def test_filters(aws: Aws) -> None:
    note(
        aws, 1, tags={"team": "vision"},
        ec2={
            "InstanceType": "m5.large", "ImageId": "ami-1", "KeyName": "mine",
            "ClientToken": "once", "AmiLaunchIndex": 1,
        },
    )  # fmt: skip
    note(
        aws, 2, state=records.STOPPED, state_reason="It failed.", tags={"team": "sound"},
        private_ip="10.0.0.2", group_ids=("sg-1",),
    )  # fmt: skip
    note(aws, 3, role_name="elastic-inference")
    ec2 = client(aws)
    for name, value, expected in _FILTERED:
        answer = ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])
        found = {
            int(each["InstanceId"].partition("-")[2], 16)
            for reservation in answer["Reservations"]
            for each in reservation["Instances"]
        }
        assert found == expected, name
    with refused("InvalidParameterValue", "The filter 'colour' is invalid"):
        ec2.describe_instances(Filters=[{"Name": "colour", "Values": ["red"]}])
    with refused("UnsupportedOperation"):
        ec2.describe_instances(IncludeManagedResources=True)


def test_instances_come_in_pages(aws: Aws) -> None:
    for number in range(7):
        note(aws, number)
    ec2 = client(aws)
    pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(each["Reservations"]) for each in pages] == [5, 2]
    ids = [each["Instances"][0]["InstanceId"] for page in pages for each in page["Reservations"]]
    assert ids == [f"i-{number:017x}" for number in range(7)]
    with refused("InvalidNextToken"):
        ec2.describe_instances(NextToken="x")


def test_one_that_was_launched_otherwise_says_what_is_known(aws: Aws) -> None:
    found = one(aws, note(aws, 1, role_name="elastic-inference", tags={"a": "b"}))
    assert "ImageId" not in found
    assert "InstanceType" not in found
    assert found["IamInstanceProfile"]["Arn"].endswith(":instance-profile/elastic-inference")
    assert found["Tags"] == [{"Key": "a", "Value": "b"}]


def test_the_answers_are_where_moto_has_them(aws: Aws) -> None:
    def steps(clients: Any) -> Any:
        ec2 = clients("ec2")
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        (instance,) = ec2.run_instances(
            ImageId=image, InstanceType="m5.large", MinCount=1, MaxCount=1
        )["Instances"]
        ids = [instance["InstanceId"]]
        ec2.get_waiter("instance_running").wait(
            InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        answer = {
            "Status": ec2.describe_instance_status(InstanceIds=ids)["InstanceStatuses"],
            "Type": ec2.describe_instance_attribute(InstanceId=ids[0], Attribute="instanceType"),
            "Stop": ec2.stop_instances(InstanceIds=ids)["StoppingInstances"],
        }
        if clients == aws.client:
            settle(aws, *ids)
        return answer | {
            "Start": ec2.start_instances(InstanceIds=ids)["StartingInstances"],
            "End": ec2.terminate_instances(InstanceIds=ids)["TerminatingInstances"],
        }

    assert_shape_like_moto(aws.client, steps, {"Type.ResponseMetadata": "it is each call's own"})


def test_where_one_of_several_cannot_be_changed_none_is(aws: Aws) -> None:
    stays, gone = run(aws, MinCount=2, MaxCount=2)
    client(aws).terminate_instances(InstanceIds=[gone])
    settle(aws, gone)
    for operation in ("stop_instances", "reboot_instances", "start_instances"):
        with refused("IncorrectInstanceState", gone):
            getattr(client(aws), operation)(InstanceIds=[stays, gone])
    assert aws.plane.instance(stays).state == records.RUNNING
