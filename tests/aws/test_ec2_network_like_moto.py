"""Networks as moto answers of them, and as the original's two tools ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from elastic_inference.control import records
from tests.aws.conftest import Aws
from tests.aws.shapes import assert_shape_like_moto, differences, moto

SERVICE = "com.amazonaws.us-east-1.elastic-inference.runtime"
Step = Callable[[Any], Any]
HTTPS = {
    "IpProtocol": "tcp",
    "FromPort": 443,
    "ToPort": 443,
    "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}],
    "Ipv6Ranges": [{"CidrIpv6": "::/0", "Description": "all"}],
}
TAGS = [{"Key": "Name", "Value": "mine"}]


def specified(kind: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": TAGS}]


def vpc(ec2: Any) -> Any:
    return ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=specified("vpc"))


def subnet(ec2: Any) -> Any:
    vpc_id = vpc(ec2)["Vpc"]["VpcId"]
    return ec2.create_subnet(
        VpcId=vpc_id, CidrBlock="10.0.0.0/24", TagSpecifications=specified("subnet")
    )


def group(ec2: Any) -> Any:
    return ec2.create_security_group(
        GroupName="mine", Description="d", VpcId=vpc(ec2)["Vpc"]["VpcId"],
        TagSpecifications=specified("security-group"),
    )  # fmt: skip


def permissions(group_id: str) -> list[dict[str, Any]]:
    pair = {"GroupId": group_id, "Description": "us"}
    return [HTTPS, {"IpProtocol": "-1", "UserIdGroupPairs": [pair]}]


def rules(ec2: Any) -> Any:
    group_id = group(ec2)["GroupId"]
    return ec2.authorize_security_group_ingress(
        GroupId=group_id, IpPermissions=permissions(group_id)
    )


def groups(ec2: Any) -> Any:
    group_id = rules(ec2)["SecurityGroupRules"][0]["GroupId"]
    return ec2.describe_security_groups(GroupIds=[group_id])


def described_rules(ec2: Any) -> Any:
    group_id = rules(ec2)["SecurityGroupRules"][0]["GroupId"]
    return ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group_id]}])


def revoked(ec2: Any) -> Any:
    group_id = rules(ec2)["SecurityGroupRules"][0]["GroupId"]
    return ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[HTTPS])


def outward(ec2: Any) -> Any:
    return ec2.authorize_security_group_egress(GroupId=group(ec2)["GroupId"], IpPermissions=[HTTPS])


def endpoint(ec2: Any) -> Any:
    made = subnet(ec2)["Subnet"]
    ec2.modify_vpc_attribute(VpcId=made["VpcId"], EnableDnsHostnames={"Value": True})
    (default,) = ec2.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [made["VpcId"]]}]
    )["SecurityGroups"]
    return ec2.create_vpc_endpoint(
        VpcId=made["VpcId"], VpcEndpointType="Interface", ServiceName=SERVICE,
        SubnetIds=[made["SubnetId"]], SecurityGroupIds=[default["GroupId"]],
        TagSpecifications=specified("vpc-endpoint"),
    )  # fmt: skip


def endpoints(ec2: Any) -> Any:
    made = endpoint(ec2)["VpcEndpoint"]["VpcEndpointId"]
    return ec2.describe_vpc_endpoints(VpcEndpointIds=[made])


def modified(ec2: Any) -> Any:
    made = endpoint(ec2)["VpcEndpoint"]["VpcEndpointId"]
    return ec2.modify_vpc_endpoint(VpcEndpointId=made, PrivateDnsEnabled=False)


def attribute(name: str) -> Step:
    return lambda ec2: ec2.describe_vpc_attribute(VpcId=vpc(ec2)["Vpc"]["VpcId"], Attribute=name)


_NO_ADDRESS = "an endpoint is where the pool listens, and has no address in a subnet"
_NO_NAMES = "names of instances follow their addresses"
_NO_ZONE = "the pool has no DNS server"


def _lacks(member: str) -> dict[str, str]:
    return {
        f"{member}.DnsEntries.HostedZoneId": _NO_ZONE,
        f"{member}.NetworkInterfaceIds": _NO_ADDRESS,
    }


@pytest.mark.parametrize(
    ("step", "lacks"),
    [
        pytest.param(step, lacks, id=name)
        for name, step, lacks in (
            ("CreateVpc", vpc, {}),
            ("DescribeVpcs", lambda ec2: ec2.describe_vpcs(), {}),
            ("DescribeVpcAttribute", attribute("enableDnsSupport"), {}),
            ("DescribeVpcAttributeNames", attribute("enableDnsHostnames"), {}),
            ("CreateSubnet", subnet, {"Subnet.PrivateDnsNameOptionsOnLaunch": _NO_NAMES}),
            (
                "DescribeSubnets",
                lambda ec2: ec2.describe_subnets(),
                {"Subnets.PrivateDnsNameOptionsOnLaunch": _NO_NAMES},
            ),
            ("CreateSecurityGroup", group, {}),
            ("DescribeSecurityGroups", groups, {}),
            ("AuthorizeSecurityGroupIngress", rules, {}),
            ("AuthorizeSecurityGroupEgress", outward, {}),
            ("DescribeSecurityGroupRules", described_rules, {}),
            ("RevokeSecurityGroupIngress", revoked, {}),
            ("CreateVpcEndpoint", endpoint, _lacks("VpcEndpoint")),
            ("DescribeVpcEndpoints", endpoints, _lacks("VpcEndpoints")),
            ("ModifyVpcEndpoint", modified, {}),
        )
    ],
)
def test_answers_are_shaped_as_motos(aws: Aws, step: Step, lacks: Mapping[str, str]) -> None:
    # How moto describes endpoint services is not compared: it loads all of its services for that,
    # and some of these need packages of their own.
    assert_shape_like_moto(aws.client, lambda clients: step(clients("ec2")), lacks)


def test_interfaces_are_shaped_as_motos(aws: Aws) -> None:
    own = aws.client("ec2")
    (subnet_,) = own.describe_subnets()["Subnets"]
    (default,) = own.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    aws.plane.store.instances.add(
        records.Instance(
            id="i-00000001", subnet_id=subnet_["SubnetId"], group_ids=(default["GroupId"],),
            private_ip="172.31.0.4", created_at=1.0, ec2={"AssociatePublicIpAddress": True},
        )
    )  # fmt: skip
    answer = own.describe_network_interfaces()
    with moto() as clients:
        theirs = clients("ec2")
        (image, *_) = theirs.describe_images(Owners=["amazon"])["Images"]
        theirs.run_instances(ImageId=image["ImageId"], MinCount=1, MaxCount=1)
        reference = theirs.describe_network_interfaces()
    lacks = {
        "NetworkInterfaces.Association.IpOwnerId": "the address is the pool's machine's",
        "NetworkInterfaces.Association.PublicDnsName": "this pool is reached by an address",
        "NetworkInterfaces.Description": "it says nothing",
        "NetworkInterfaces.PrivateDnsName": _NO_ZONE,
        "NetworkInterfaces.PrivateIpAddresses.PrivateDnsName": _NO_ZONE,
        "NetworkInterfaces.RequesterId": "nobody asked for it but who launched the instance",
    }
    wrong = differences(answer, reference, lacks)
    assert not wrong, "\n".join(wrong)


def test_what_the_original_set_up_tool_asks(aws: Aws) -> None:
    """Its calls in their order, from a fresh pool; then once more, when all is there."""
    ec2 = aws.client("ec2")
    for expected_groups in (0, 1):
        by_service = [{"Name": "service-name", "Values": [SERVICE]}]
        services = ec2.describe_vpc_endpoint_services(Filters=by_service)
        assert len(services["ServiceNames"]) > 0
        zones = services["ServiceDetails"][0]["AvailabilityZones"]
        (vpc_id,) = [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if each["IsDefault"]]
        found = ec2.describe_security_groups(
            Filters=[
                {"Name": f"ip-permission.{end}-port", "Values": [port]}
                for port in ("443", "22")
                for end in ("from", "to")
            ]
            + [{"Name": "vpc-id", "Values": [vpc_id]}]
        )["SecurityGroups"]
        assert len(found) == expected_groups
        if found:
            group_id = found[0]["GroupId"]
        else:
            group_id = ec2.create_security_group(
                GroupName="amazon_ei_security_group",
                Description="Security Group for accessing Amazon EI service",
                VpcId=vpc_id,
            )["GroupId"]
            for port in (443, 22):
                ec2.authorize_security_group_ingress(
                    GroupId=group_id, IpProtocol="tcp", CidrIp="0.0.0.0/0",
                    FromPort=port, ToPort=port,
                )  # fmt: skip
        (subnet_,) = [
            each
            for zone in zones
            for each in ec2.describe_subnets(
                Filters=[
                    {"Name": "vpc-id", "Values": [vpc_id]},
                    {"Name": "availability-zone", "Values": [zone]},
                ]
            )["Subnets"]
            if each["State"] == "available"
        ]
        (endpoint_,) = ec2.describe_vpc_endpoints(
            Filters=[*by_service, {"Name": "vpc-id", "Values": [vpc_id]}]
        )["VpcEndpoints"]
        assert subnet_["SubnetId"] in endpoint_["SubnetIds"]
        assert endpoint_["PrivateDnsEnabled"]
        known = [each["GroupId"] for each in endpoint_["Groups"]]
        assert (group_id in known) is bool(expected_groups)
        if group_id not in known:
            ec2.modify_vpc_endpoint(
                VpcEndpointId=endpoint_["VpcEndpointId"], AddSecurityGroupIds=[group_id]
            )


def test_the_original_set_up_tool_in_a_network_without_an_endpoint(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    subnet_ = subnet(ec2)["Subnet"]
    vpc_id = subnet_["VpcId"]
    made = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc_id)["GroupId"]
    for attribute_ in ("EnableDnsSupport", "EnableDnsHostnames"):
        ec2.modify_vpc_attribute(VpcId=vpc_id, **{attribute_: {"Value": True}})
    ec2.create_vpc_endpoint(
        VpcEndpointType="Interface", VpcId=vpc_id, ServiceName=SERVICE,
        SubnetIds=[subnet_["SubnetId"]], SecurityGroupIds=[made], PrivateDnsEnabled=True,
    )  # fmt: skip
    # What its validator looks at.
    for name in ("enableDnsSupport", "enableDnsHostnames"):
        answer = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=name)
        assert answer[name[0].upper() + name[1:]]["Value"]
    (found,) = ec2.describe_vpc_endpoints(
        Filters=[
            {"Name": "service-name", "Values": [SERVICE]},
            {"Name": "vpc-id", "Values": [vpc_id]},
        ]
    )["VpcEndpoints"]
    assert found["State"] == "available"
    assert found["PrivateDnsEnabled"]
    assert subnet_["SubnetId"] in found["SubnetIds"]
    (seen,) = ec2.describe_security_groups(GroupIds=[each["GroupId"] for each in found["Groups"]])[
        "SecurityGroups"
    ]
    assert seen["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
