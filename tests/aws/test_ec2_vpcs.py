"""EC2's VPCs and subnets by boto3."""

from __future__ import annotations

from typing import Any

from elastic_inference.control import records
from tests.aws.conftest import Aws
from tests.aws.refusals import refused

ZONE = "us-east-1a"


def tagged(kind: str, **tags: str) -> list[dict[str, Any]]:
    """TagSpecifications."""
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": kind, "Tags": pairs}]


def default_vpc(ec2: Any) -> str:
    filters = [{"Name": "is-default", "Values": ["true"]}]
    (found,) = ec2.describe_vpcs(Filters=filters)["Vpcs"]
    return str(found["VpcId"])


def filtered(describe: Any, member: str, key: str, **filters: Any) -> list[str]:
    """The ids of what meets filters, whose names have dashes for underscores."""
    given = [
        {
            "Name": name.replace("__", ":").replace("_", "-"),
            "Values": [values] if isinstance(values, str) else values,
        }
        for name, values in filters.items()
    ]
    return [each[key] for each in describe(Filters=given)[member]]


def test_a_vpc_is_made_described_and_deleted(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    made = ec2.create_vpc(
        CidrBlock="10.1.2.3/16", InstanceTenancy="default", AmazonProvidedIpv6CidrBlock=False,
        TagSpecifications=tagged("vpc", Name="mine"),
    )["Vpc"]  # fmt: skip
    vpc_id = made["VpcId"]
    assert vpc_id.startswith("vpc-")
    assert made["CidrBlock"] == "10.1.0.0/16"
    assert made["Tags"] == [{"Key": "Name", "Value": "mine"}]
    assert (made["State"], made["IsDefault"], made["OwnerId"]) == (
        "available", False, aws.account,
    )  # fmt: skip
    assert ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"] == [made]
    assert {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]} == {vpc_id, default_vpc(ec2)}
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])[
        "SecurityGroups"
    ]
    assert group["GroupName"] == "default"
    ec2.delete_vpc(VpcId=vpc_id)
    for call in (ec2.delete_vpc, lambda VpcId: ec2.describe_vpcs(VpcIds=[VpcId])):  # noqa: N803
        with refused("InvalidVpcID.NotFound", vpc_id):
            call(VpcId=vpc_id)
    assert aws.plane.store.groups.get(group["GroupId"]) is None


def test_vpcs_are_filtered_and_paged(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    made = [
        ec2.create_vpc(
            CidrBlock=f"10.{number}.0.0/16", TagSpecifications=tagged("vpc", Number=str(number))
        )["Vpc"]["VpcId"]
        for number in range(6)
    ]

    def found(**filters: Any) -> list[str]:
        return filtered(ec2.describe_vpcs, "Vpcs", "VpcId", **filters)

    assert found(cidr="10.3.*") == [made[3]]
    assert found(tag__Number=["1", "4"]) == [made[1], made[4]]
    assert found(tag_key="Number", vpc_id=made[2]) == [made[2]]
    assert found(is_default="false", state="available", owner_id=aws.account) == made
    assert found(state="pending") == []
    pages = list(ec2.get_paginator("describe_vpcs").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(each["Vpcs"]) for each in pages] == [5, 2]
    assert [one["VpcId"] for each in pages for one in each["Vpcs"]] == [default_vpc(ec2), *made]
    with refused("InvalidParameterValue", "colour"):
        found(colour="red")
    with refused("InvalidNextToken"):
        ec2.describe_vpcs(NextToken="here")


def test_what_a_vpc_cannot_be(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    with refused("MissingParameter", "cidrBlock"):
        ec2.create_vpc()
    for wrong in ("10.0.0.0/8", "10.0.0.0/29", "10.0.0.0", "2001:db8::/64", "all"):
        with refused("InvalidVpc.Range", wrong):
            ec2.create_vpc(CidrBlock=wrong)
    for parameter in (
        {"InstanceTenancy": "dedicated"},
        {"AmazonProvidedIpv6CidrBlock": True},
        {"Ipv6CidrBlock": "2001:db8::/56"},
        {"Ipv4NetmaskLength": 16},
    ):
        with refused("UnsupportedOperation", *parameter):
            ec2.create_vpc(CidrBlock="10.0.0.0/16", **parameter)
    with refused("InvalidParameterValue", "subnet"):
        ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tagged("subnet", a="b"))
    with refused("InvalidParameterValue", "aws:"):
        ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tagged("vpc", **{"aws:a": "b"}))
    with refused("DryRunOperation", status=412):
        ec2.create_vpc(CidrBlock="10.0.0.0/16", DryRun=True)
    assert len(ec2.describe_vpcs()["Vpcs"]) == 1
    with refused("InvalidAction", "CreateDefaultVpc"):
        ec2.create_default_vpc()


def test_attributes_of_vpcs(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]

    def value(attribute: str, of: str = vpc_id) -> bool:
        answer = ec2.describe_vpc_attribute(VpcId=of, Attribute=attribute)
        assert answer["VpcId"] == of
        return bool(answer[attribute[0].upper() + attribute[1:]]["Value"])

    assert value("enableDnsSupport")
    assert not value("enableDnsHostnames")
    assert not value("enableNetworkAddressUsageMetrics")
    assert value("enableDnsHostnames", default_vpc(ec2))
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsSupport={"Value": False})
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableNetworkAddressUsageMetrics={"Value": False})
    assert value("enableDnsHostnames")
    assert not value("enableDnsSupport")
    with refused("UnsupportedOperation", "EnableNetworkAddressUsageMetrics"):
        ec2.modify_vpc_attribute(VpcId=vpc_id, EnableNetworkAddressUsageMetrics={"Value": True})
    with refused("InvalidParameterCombination"):
        ec2.modify_vpc_attribute(VpcId=vpc_id)
    with refused("InvalidParameterCombination"):
        ec2.modify_vpc_attribute(
            VpcId=vpc_id, EnableDnsSupport={"Value": True}, EnableDnsHostnames={"Value": True}
        )
    for gone in ("EnableDnsSupport", "EnableNetworkAddressUsageMetrics"):
        with refused("InvalidVpcID.NotFound"):
            ec2.modify_vpc_attribute(VpcId="vpc-0", **{gone: {"Value": False}})
    with refused("InvalidVpcID.NotFound"):
        ec2.describe_vpc_attribute(VpcId="vpc-0", Attribute="enableDnsSupport")
    with refused("InvalidParameterValue"):
        ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDns")


def test_a_vpc_that_is_used_is_not_deleted(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group_id = ec2.create_security_group(VpcId=vpc_id, GroupName="g", Description="d")["GroupId"]
    service = f"com.amazonaws.{aws.region}.elastic-inference.runtime"
    endpoint_id = ec2.create_vpc_endpoint(
        VpcId=vpc_id, ServiceName=service, VpcEndpointType="Interface", PrivateDnsEnabled=False
    )["VpcEndpoint"]["VpcEndpointId"]
    with refused("DependencyViolation", vpc_id, subnet_id, group_id, endpoint_id):
        ec2.delete_vpc(VpcId=vpc_id)
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    ec2.delete_security_group(GroupId=group_id)
    ec2.delete_subnet(SubnetId=subnet_id)
    ec2.delete_vpc(VpcId=vpc_id)
    assert len(ec2.describe_vpcs()["Vpcs"]) == 1


def test_a_subnet_is_made_described_and_deleted(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    made = ec2.create_subnet(
        VpcId=vpc_id, CidrBlock="10.0.1.0/24", AvailabilityZone=ZONE, Ipv6Native=False,
        TagSpecifications=tagged("subnet", Name="first"),
    )["Subnet"]  # fmt: skip
    other = ec2.create_subnet(
        VpcId=vpc_id, CidrBlock="10.0.2.0/28", AvailabilityZoneId="use1-az1"
    )["Subnet"]  # fmt: skip
    assert made["AvailabilityZone"] == ZONE
    assert made["Tags"] == [{"Key": "Name", "Value": "first"}]
    assert (made["AvailableIpAddressCount"], other["AvailableIpAddressCount"]) == (251, 11)
    assert (made["DefaultForAz"], made["State"]) == (False, "available")
    assert ec2.describe_subnets(SubnetIds=[made["SubnetId"]])["Subnets"] == [made]

    def found(**filters: Any) -> list[str]:
        return filtered(ec2.describe_subnets, "Subnets", "SubnetId", vpc_id=vpc_id, **filters)

    both = [made["SubnetId"], other["SubnetId"]]
    assert found(availability_zone=ZONE, default_for_az="false", owner_id=aws.account) == both
    assert found(availability_zone_id="use1-az1", state="available") == both
    assert found(cidr_block="10.0.1.0/24", available_ip_address_count="251") == both[:1]
    assert found(subnet_arn=made["SubnetArn"], tag__Name="f*") == both[:1]
    assert found(subnet_id=both, ipv6_native="true") == []
    assert found(availability_zone="us-east-1b") == []
    (default,) = ec2.describe_subnets(Filters=[{"Name": "defaultForAz", "Values": ["true"]}])[
        "Subnets"
    ]
    assert default["VpcId"] == default_vpc(ec2)
    ec2.delete_subnet(SubnetId=both[0])
    with refused("InvalidSubnetID.NotFound", both[0]):
        ec2.delete_subnet(SubnetId=both[0])
    with refused("InvalidSubnetID.NotFound", both[0]):
        ec2.describe_subnets(SubnetIds=both)


def test_subnets_are_paged(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    for number in range(6):
        ec2.create_subnet(VpcId=default_vpc(ec2), CidrBlock=f"172.31.{200 + number}.0/24")
    pages = list(ec2.get_paginator("describe_subnets").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(each["Subnets"]) for each in pages] == [5, 2]
    assert len({one["SubnetId"] for each in pages for one in each["Subnets"]}) == 7


def test_what_a_subnet_cannot_be(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.0.0/24")
    for wrong in ("10.1.0.0/24", "10.0.0.0/8", "10.0.1.0/29", "here"):
        with refused("InvalidSubnet.Range", wrong):
            ec2.create_subnet(VpcId=vpc_id, CidrBlock=wrong)
    for wrong in ("10.0.0.0/25", "10.0.0.0/16"):
        with refused("InvalidSubnet.Conflict", wrong, "overlaps"):
            ec2.create_subnet(VpcId=vpc_id, CidrBlock=wrong)
    with refused("InvalidVpcID.NotFound"):
        ec2.create_subnet(VpcId="vpc-0", CidrBlock="10.0.1.0/24")
    with refused("MissingParameter", "cidrBlock"):
        ec2.create_subnet(VpcId=vpc_id)
    for place in ({"AvailabilityZone": "us-east-1b"}, {"AvailabilityZoneId": "use1-az2"}):
        with refused("InvalidParameterValue", "availability zones"):
            ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24", **place)
    for parameter in ({"Ipv6Native": True}, {"Ipv6CidrBlock": "2001:db8::/64"}):
        with refused("UnsupportedOperation", *parameter):
            ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24", **parameter)
    assert len(ec2.describe_subnets()["Subnets"]) == 2


def test_what_no_subnet_does_is_refused_by_name(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    (subnet, *_) = ec2.describe_subnets()["Subnets"]
    named = {"SubnetId": subnet["SubnetId"]}
    ec2.modify_subnet_attribute(**named, MapPublicIpOnLaunch={"Value": False})
    with refused("UnsupportedOperation", "AssociatePublicIpAddress"):
        ec2.modify_subnet_attribute(**named, MapPublicIpOnLaunch={"Value": True})
    with refused("UnsupportedOperation", "EnableDns64"):
        ec2.modify_subnet_attribute(**named, EnableDns64={"Value": True})
    with refused("InvalidSubnetID.NotFound"):
        ec2.modify_subnet_attribute(
            SubnetId="subnet-0123456789abcdef0", MapPublicIpOnLaunch={"Value": False}
        )


def test_a_subnet_that_is_used_is_not_deleted(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    (subnet,) = ec2.describe_subnets()["Subnets"]
    store = aws.plane.store
    instance = records.Instance(id="i-00000001", subnet_id=subnet["SubnetId"])
    store.instances.add(instance)
    (endpoint,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    with refused("DependencyViolation", instance.id, endpoint["VpcEndpointId"]):
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    (now,) = ec2.describe_subnets()["Subnets"]
    assert now["AvailableIpAddressCount"] == subnet["AvailableIpAddressCount"] - 1
    store.set_instance(instance.id, state=records.TERMINATED)
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"]])
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    assert ec2.describe_subnets()["Subnets"] == []


def test_who_may_change_networks(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id = default_vpc(ec2)
    prefix = f"arn:aws:ec2:{aws.region}:{aws.account}"
    ann = aws.client("ec2", key=aws.user(
        "ann",
        {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"},
        {"Effect": "Allow", "Action": "ec2:CreateSubnet", "Resource": f"{prefix}:subnet/*"},
        {"Effect": "Allow", "Action": "ec2:CreateSubnet", "Resource": f"{prefix}:vpc/{vpc_id}"},
    ))  # fmt: skip
    other = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert len(ann.describe_vpcs()["Vpcs"]) == 2
    with refused("UnauthorizedOperation", "ec2:CreateSubnet", other, status=403):
        ann.create_subnet(VpcId=other, CidrBlock="10.0.0.0/24")
    with refused("UnauthorizedOperation", "ec2:DeleteVpc", status=403):
        ann.delete_vpc(VpcId=other)
    with refused("UnauthorizedOperation", "ec2:CreateTags", status=403):
        ann.create_subnet(
            VpcId=vpc_id, CidrBlock="172.31.255.0/24", TagSpecifications=tagged("subnet", a="b")
        )
    assert len(ec2.describe_subnets()["Subnets"]) == 1
    ann.create_subnet(VpcId=vpc_id, CidrBlock="172.31.255.0/24")
    assert len(ec2.describe_subnets()["Subnets"]) == 2
