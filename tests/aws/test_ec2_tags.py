"""Tags of EC2's things by boto3."""

from __future__ import annotations

from typing import Any

from tests.aws.conftest import Aws
from tests.aws.launching import client, image, one, run
from tests.aws.refusals import refused
from tests.aws.shapes import assert_shape_like_moto


def pairs(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def things(aws: Aws) -> dict[str, str]:
    """The id of a thing of each kind."""
    ec2 = client(aws)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    data = {"ImageId": image(), "InstanceType": "m5.large"}
    template = ec2.create_launch_template(LaunchTemplateName="reader", LaunchTemplateData=data)
    return {
        "instance": run(aws)[0],
        "key-pair": ec2.create_key_pair(KeyName="k", KeyType="ed25519")["KeyPairId"],
        "launch-template": template["LaunchTemplate"]["LaunchTemplateId"],
        "security-group": ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)[
            "GroupId"
        ],
        "subnet": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        "vpc": vpc,
        "vpc-endpoint": ec2.describe_vpc_endpoints()["VpcEndpoints"][0]["VpcEndpointId"],
    }


def test_everything_is_tagged_and_found_by_its_tags(aws: Aws) -> None:
    ec2, ids = client(aws), things(aws)
    ec2.create_tags(Resources=list(ids.values()), Tags=pairs(team="vision", stage="test"))
    found = ec2.describe_tags()["Tags"]
    assert {(each["ResourceType"], each["ResourceId"]) for each in found} == set(ids.items())
    assert len(found) == 2 * len(ids)
    team = [{"Name": "tag:team", "Values": ["vision"]}]
    for call, member in (
        (ec2.describe_vpcs, "Vpcs"),
        (ec2.describe_subnets, "Subnets"),
        (ec2.describe_security_groups, "SecurityGroups"),
        (ec2.describe_vpc_endpoints, "VpcEndpoints"),
        (ec2.describe_key_pairs, "KeyPairs"),
        (ec2.describe_launch_templates, "LaunchTemplates"),
        (ec2.describe_instances, "Reservations"),
    ):
        assert len(call(Filters=team)[member]) == 1
    pages = ec2.get_paginator("describe_tags").paginate(PaginationConfig={"PageSize": 5})
    assert [len(each["Tags"]) for each in pages] == [5, 5, 4]
    filters = [
        {"Name": "key", "Values": ["st*"]},
        {"Name": "resource-type", "Values": ["vpc", "subnet"]},
        {"Name": "value", "Values": ["test"]},
        {"Name": "resource-id", "Values": [ids["vpc"]]},
    ]
    (tag,) = ec2.describe_tags(Filters=filters)["Tags"]
    assert tag == {
        "Key": "stage", "Value": "test", "ResourceId": ids["vpc"], "ResourceType": "vpc",
    }  # fmt: skip


def test_tags_are_changed_and_deleted(aws: Aws) -> None:
    ec2 = client(aws)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]

    def now() -> dict[str, str]:
        return {each["Key"]: each["Value"] for each in ec2.describe_tags()["Tags"]}

    ec2.create_tags(Resources=[vpc], Tags=pairs(a="1", b="2", c="3"))
    ec2.create_tags(Resources=[vpc], Tags=pairs(a="one"))
    ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "b"}, {"Key": "c", "Value": "other"}])
    assert now() == {"a": "one", "c": "3"}
    ec2.delete_tags(Resources=[vpc])
    assert now() == {}


def test_an_instances_tags_are_its_name_and_what_it_is_billed_under(aws: Aws) -> None:
    ec2 = client(aws)
    (name,) = run(aws, ElasticInferenceAccelerators=[{"Type": "eia1.medium"}])
    ec2.create_tags(Resources=[name], Tags=pairs(Name="reader", team="vision"))
    assert aws.plane.instance(name).name == "reader"
    (accelerator,) = aws.plane.store.accelerators_of(name)
    assert accelerator.tags == {"Name": "reader", "team": "vision"}
    ec2.delete_tags(Resources=[name], Tags=[{"Key": "Name"}])
    assert aws.plane.instance(name).name == ""
    assert one(aws, name)["Tags"] == pairs(team="vision")


def test_what_is_no_tag_or_no_thing_is_refused(aws: Aws) -> None:
    ec2 = client(aws)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    missing = "0123456789abcdef0"
    for resource, code in (
        (f"i-{missing}", "InvalidInstanceID.NotFound"),
        (f"key-{missing}", "InvalidKeyPair.NotFound"),
        (f"lt-{missing}", "InvalidLaunchTemplateId.NotFound"),
        (f"sg-{missing}", "InvalidGroup.NotFound"),
        (f"subnet-{missing}", "InvalidSubnetID.NotFound"),
        (f"vpc-{missing}", "InvalidVpcID.NotFound"),
        (f"vpce-{missing}", "InvalidVpcEndpointId.NotFound"),
        (f"ami-{missing}", "UnsupportedOperation"),
        (f"eni-{missing}", "UnsupportedOperation"),
        ("nonsense", "InvalidID"),
    ):
        with refused(code):
            ec2.create_tags(Resources=[vpc, resource], Tags=pairs(a="b"))
    for tags, code in (
        (pairs(**{"aws:a": "b"}), "InvalidParameterValue"),
        (pairs(**{"k" * 129: "b"}), "InvalidParameterValue"),
        (pairs(a="v" * 257), "InvalidParameterValue"),
        (pairs(a="b") * 2, "InvalidParameterValue"),
        (pairs(**{f"k{number}": "v" for number in range(51)}), "TagLimitExceeded"),
    ):
        with refused(code):
            ec2.create_tags(Resources=[vpc], Tags=tags)
    assert ec2.describe_tags()["Tags"] == []
    ec2.create_tags(Resources=[vpc], Tags=pairs(**{f"k{number}": "v" for number in range(50)}))
    with refused("TagLimitExceeded"):
        ec2.create_tags(Resources=[vpc], Tags=pairs(one="more"))
    with refused("InvalidParameterValue"):
        ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "aws:a"}])


def test_only_who_may_tags(aws: Aws) -> None:
    vpc = client(aws).describe_vpcs()["Vpcs"][0]["VpcId"]
    subnet = client(aws).describe_subnets()["Subnets"][0]["SubnetId"]
    arn = f"arn:aws:ec2:{aws.region}:{aws.account}:vpc/{vpc}"
    key = aws.user("ann", {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": arn})
    ec2 = aws.client("ec2", key=key)
    ec2.create_tags(Resources=[vpc], Tags=pairs(a="b"))
    with refused("UnauthorizedOperation", status=403):
        ec2.create_tags(Resources=[vpc, subnet], Tags=pairs(a="b"))


def test_the_answers_are_where_moto_has_them(aws: Aws) -> None:
    def steps(clients: Any) -> Any:
        ec2 = clients("ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        ec2.create_tags(Resources=[vpc], Tags=pairs(a="b"))
        return ec2.describe_tags()

    assert_shape_like_moto(aws.client, steps)
