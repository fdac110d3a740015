"""Launch templates and their versions by boto3."""

from __future__ import annotations

import base64
from typing import Any

from elastic_inference.aws import ec2_launch
from tests.aws.conftest import Aws
from tests.aws.launching import client, image, one, request, settle
from tests.aws.refusals import refused
from tests.aws.shapes import assert_shape_like_moto


def data(**more: Any) -> dict[str, Any]:
    return {"ImageId": image(), "InstanceType": "m5.large"} | more


def create(aws: Aws, name: str = "reader", **more: Any) -> dict[str, Any]:
    made = client(aws).create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData=data(**more)
    )
    return dict(made["LaunchTemplate"])


def test_a_template_launches_instances_with_accelerators(aws: Aws) -> None:
    ec2 = client(aws)
    template = create(
        aws,
        ElasticInferenceAccelerators=[{"Type": "eia1.medium"}],
        IamInstanceProfile={"Name": "elastic-inference"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}]}],
    )
    (instance,) = ec2.run_instances(
        MinCount=1,
        MaxCount=1,
        LaunchTemplate={"LaunchTemplateName": "reader"},
        InstanceType="c5.large",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "b", "Value": "2"}]}],
    )["Instances"]
    assert len(instance["ElasticInferenceAcceleratorAssociations"]) == 1
    assert instance["InstanceType"] == "c5.large"
    assert {each["Key"]: each["Value"] for each in instance["Tags"]} == {
        "a": "1",
        "b": "2",
        "aws:ec2launchtemplate:id": template["LaunchTemplateId"],
        "aws:ec2launchtemplate:version": "1",
    }
    settle(aws, instance["InstanceId"])


def test_versions_are_made_chosen_and_deleted(aws: Aws) -> None:
    ec2 = client(aws)
    template = create(aws)
    which = {"LaunchTemplateId": template["LaunchTemplateId"]}
    second = ec2.create_launch_template_version(
        **which,
        SourceVersion="1",
        VersionDescription="larger",
        LaunchTemplateData={"InstanceType": "m5.xlarge"},
    )["LaunchTemplateVersion"]
    assert second["VersionNumber"] == 2
    assert second["LaunchTemplateData"] == data(InstanceType="m5.xlarge")
    third = ec2.create_launch_template_version(
        LaunchTemplateName="reader", LaunchTemplateData={"InstanceType": "c5.large"}
    )["LaunchTemplateVersion"]
    assert third["LaunchTemplateData"] == {"InstanceType": "c5.large"}
    changed = ec2.modify_launch_template(**which, DefaultVersion="2")["LaunchTemplate"]
    assert (changed["DefaultVersionNumber"], changed["LatestVersionNumber"]) == (2, 3)

    def versions(**wanted: Any) -> list[int]:
        answer = ec2.describe_launch_template_versions(**wanted)
        return [each["VersionNumber"] for each in answer["LaunchTemplateVersions"]]

    assert versions(**which) == [3, 2, 1]
    assert versions(**which, Versions=["$Latest", "$Default", "1"]) == [3, 2, 1]
    assert versions(**which, MinVersion="2", MaxVersion="2") == [2]
    assert versions(Versions=["$Default"]) == [2]
    default = [{"Name": "is-default-version", "Values": ["true"]}]
    assert versions(**which, Filters=default) == [2]
    large = [{"Name": "instance-type", "Values": ["*.large"]}]
    assert versions(**which, Filters=large) == [3, 1]
    pages = ec2.get_paginator("describe_launch_template_versions").paginate(
        **which, PaginationConfig={"PageSize": 1}
    )
    assert [each["LaunchTemplateVersions"][0]["VersionNumber"] for each in pages] == [3, 2, 1]
    (instance,) = ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=which)["Instances"]
    assert instance["InstanceType"] == "m5.xlarge"
    settle(aws, instance["InstanceId"])
    answer = ec2.delete_launch_template_versions(**which, Versions=["1", "2", "9"])
    assert [
        each["VersionNumber"] for each in answer["SuccessfullyDeletedLaunchTemplateVersions"]
    ] == [1]
    failed = answer["UnsuccessfullyDeletedLaunchTemplateVersions"]
    assert [(each["VersionNumber"], each["ResponseError"]["Code"]) for each in failed] == [
        (2, "unexpectedError"),
        (9, "launchTemplateVersionDoesNotExist"),
    ]
    with refused("InvalidLaunchTemplateId.VersionNotFound"):
        versions(**which, Versions=["1"])
    with refused("InvalidParameterValue"):
        ec2.delete_launch_template_versions(**which, Versions=["$Latest"])
    with refused("InvalidParameterValue"):
        versions(**which, Versions=["newest"])
    with refused("MissingParameter"):
        versions(Versions=["1"])


def test_templates_are_found_and_deleted(aws: Aws) -> None:
    ec2 = client(aws)
    for name in ("one", "two-a", "two-b"):
        ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData=data(),
            TagSpecifications=[
                {"ResourceType": "launch-template", "Tags": [{"Key": "of", "Value": name}]}
            ],
        )

    def names(**wanted: Any) -> list[str]:
        answer = ec2.describe_launch_templates(**wanted)
        return [each["LaunchTemplateName"] for each in answer["LaunchTemplates"]]

    assert names() == ["one", "two-a", "two-b"]
    assert names(LaunchTemplateNames=["two-b"]) == ["two-b"]
    assert names(Filters=[{"Name": "launch-template-name", "Values": ["two-*"]}]) == [
        "two-a",
        "two-b",
    ]
    assert names(Filters=[{"Name": "tag:of", "Values": ["one"]}]) == ["one"]
    pages = ec2.get_paginator("describe_launch_templates").paginate(
        PaginationConfig={"PageSize": 2}
    )
    assert [len(each["LaunchTemplates"]) for each in pages] == [2, 1]
    ec2.delete_launch_template(LaunchTemplateName="one")
    with refused("InvalidLaunchTemplateName.NotFoundException"):
        names(LaunchTemplateNames=["one"])
    with refused("InvalidLaunchTemplateName.NotFoundException"):
        ec2.delete_launch_template(LaunchTemplateName="one")
    with refused("InvalidLaunchTemplateId.NotFound"):
        names(LaunchTemplateIds=["lt-0123456789abcdef0"])
    with refused("InvalidLaunchTemplateId.Malformed"):
        names(LaunchTemplateIds=["lt-x"])
    with refused("MissingParameter"):
        ec2.delete_launch_template()
    assert aws.plane.store.template_versions.count() == 2


def test_a_token_means_the_same_template_and_version(aws: Aws) -> None:
    ec2 = client(aws)
    wanted = {"LaunchTemplateName": "reader", "LaunchTemplateData": data(), "ClientToken": "t"}
    first = ec2.create_launch_template(**wanted)["LaunchTemplate"]
    assert ec2.create_launch_template(**wanted)["LaunchTemplate"] == first
    with refused("IdempotentParameterMismatch"):
        ec2.create_launch_template(**wanted | {"LaunchTemplateName": "other"})
    with refused("InvalidLaunchTemplateName.AlreadyExistsException"):
        ec2.create_launch_template(**wanted | {"ClientToken": "u"})
    version = {
        "LaunchTemplateName": "reader",
        "LaunchTemplateData": {"InstanceType": "c5.large"},
        "ClientToken": "v",
    }
    for _ in range(2):
        made = ec2.create_launch_template_version(**version)["LaunchTemplateVersion"]
        assert made["VersionNumber"] == 2
        assert made["LaunchTemplateData"] == {"InstanceType": "c5.large"}


def test_what_could_never_be_launched_is_no_template(aws: Aws) -> None:
    ec2 = client(aws)
    for parameters, code in (
        ({"InstanceType": "p2.xlarge"}, "Unsupported"),
        ({"InstanceType": "x1.16xlarge"}, "InvalidParameterValue"),
        ({"ElasticInferenceAccelerators": [{"Type": "eia9.x"}]}, "InvalidParameterValue"),
        ({"Monitoring": {"Enabled": True}}, "UnsupportedOperation"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/x"}]}, "UnsupportedOperation"),
        ({"InstanceMarketOptions": {"MarketType": "spot"}}, "UnsupportedOperation"),
        ({"UserData": "!"}, "InvalidParameterValue"),
        (
            {"TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "a"}]}]},
            "UnsupportedOperation",
        ),
    ):
        with refused(code):
            create(aws, **parameters)
    for name in ("ab", "n" * 129, "with blank"):
        with refused("InvalidLaunchTemplateName.MalformedException"):
            create(aws, name)
    with refused("InvalidParameterValue"):
        ec2.create_launch_template(
            LaunchTemplateName="reader", LaunchTemplateData=data(), VersionDescription="d" * 256
        )
    with refused("MissingParameter"):
        ec2.create_launch_template(LaunchTemplateName="reader", LaunchTemplateData={})
    with refused("InvalidParameterCombination"):
        ec2.modify_launch_template(LaunchTemplateName="reader", LaunchTemplateId="lt-1")
    assert aws.plane.store.templates.where() == []


def test_others_launch_of_templates_in_their_own_subnets(aws: Aws) -> None:
    ec2 = client(aws)
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    subnet = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="172.31.64.0/20")["Subnet"]["SubnetId"]
    create(aws, NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": True}])
    spec = {"LaunchTemplateName": "reader"}
    template, version, found = ec2_launch.template_data(aws.plane, aws.account, spec)
    assert (template.name, version, found["InstanceType"]) == ("reader", 1, "m5.large")
    (instance,) = ec2_launch.launch(
        aws.plane,
        aws.account,
        {"LaunchTemplate": spec},
        client_token="group-1",
        tags={"aws:autoscaling:groupName": "group"},
        subnet_id=subnet,
    )
    settle(aws, instance.id)
    described = one(aws, instance.id)
    assert described["SubnetId"] == subnet
    assert described["PublicIpAddress"] == "127.0.0.1"
    assert {"Key": "aws:autoscaling:groupName", "Value": "group"} in described["Tags"]
    assert ec2_launch.launched(aws.plane, aws.account, "group-1") is not None


def test_user_data_is_kept_as_it_came(aws: Aws) -> None:
    compute = aws.plane.compute
    assert compute is not None
    script = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()
    if compute.isolated:
        create(aws, UserData=script)
        answer = client(aws).describe_launch_template_versions(LaunchTemplateName="reader")
        (version,) = answer["LaunchTemplateVersions"]
        assert version["LaunchTemplateData"]["UserData"] == script
    else:
        with refused("UnsupportedOperation", "runs no user data"):
            create(aws, UserData=script)


def test_only_who_may_changes_a_template(aws: Aws) -> None:
    template = create(aws)
    arn = f"arn:aws:ec2:{aws.region}:{aws.account}:launch-template/{template['LaunchTemplateId']}"
    key = aws.user(
        "ann", {"Effect": "Allow", "Action": "ec2:CreateLaunchTemplateVersion", "Resource": arn}
    )
    ec2 = aws.client("ec2", key=key)
    ec2.create_launch_template_version(
        LaunchTemplateName="reader", LaunchTemplateData={"InstanceType": "c5.large"}
    )
    with refused("UnauthorizedOperation", status=403):
        ec2.delete_launch_template(LaunchTemplateName="reader")


def test_the_answers_are_where_moto_has_them(aws: Aws) -> None:
    def steps(clients: Any) -> Any:
        ec2 = clients("ec2")
        wanted = {"InstanceType": "m5.large", "ImageId": "ami-0123456789abcdef0"}
        which = {"LaunchTemplateName": "reader"}
        tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "a", "Value": "b"}]}]
        return {
            "Made": ec2.create_launch_template(
                **which, LaunchTemplateData=wanted, TagSpecifications=tags
            )["LaunchTemplate"],
            "Version": ec2.create_launch_template_version(
                **which, LaunchTemplateData=wanted, VersionDescription="v"
            )["LaunchTemplateVersion"],
            "Versions": ec2.describe_launch_template_versions(**which)["LaunchTemplateVersions"],
            "Changed": ec2.modify_launch_template(**which, DefaultVersion="2")["LaunchTemplate"],
            "Found": ec2.describe_launch_templates()["LaunchTemplates"],
            "Gone": ec2.delete_launch_template(**which)["LaunchTemplate"],
        }

    own = "moto gives a template's own tags to its instances"
    lacks = {"Versions.LaunchTemplateData.TagSpecifications": own}
    assert_shape_like_moto(aws.client, steps, lacks)


def test_an_instance_of_a_template_needs_what_any_needs(aws: Aws) -> None:
    ec2 = client(aws)
    ec2.create_launch_template(
        LaunchTemplateName="bare", LaunchTemplateData={"InstanceType": "m5.large"}
    )
    bare = {"LaunchTemplateName": "bare"}
    with refused("MissingParameter", "ImageId"):
        ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=bare)
    with refused("InvalidParameterValue"):
        ec2.run_instances(**request(), LaunchTemplate=bare | {"Version": "newest"})


def test_what_a_template_names_must_be_allowed_too(aws: Aws) -> None:
    template = create(aws)
    of = f"arn:aws:ec2:{aws.region}:{aws.account}"
    known = f"{of}:launch-template/{template['LaunchTemplateId']}"
    used = [f"{of}:instance/*", f"{of}:subnet/*", f"{of}:security-group/*", known]
    here = f"arn:aws:ec2:{aws.region}::image/{image()}"
    for allowed, name in ((used, "ann"), ([*used, here], "ben")):
        key = aws.user(name, {"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": allowed})
        ec2 = aws.client("ec2", key=key)
        wanted = {"LaunchTemplateName": "reader"}
        if name == "ann":
            with refused("UnauthorizedOperation", status=403):
                ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=wanted)
        else:
            (instance,) = ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=wanted)[
                "Instances"
            ]
            settle(aws, instance["InstanceId"])
