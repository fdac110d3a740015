"""EC2's VPC endpoints, their services, and network interfaces by boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elastic_inference.control import records
from elastic_inference.control.access import principal_of
from elastic_inference.errors import AccessDeniedError
from tests.aws.conftest import Aws
from tests.aws.refusals import refused
from tests.aws.test_ec2_vpcs import default_vpc, filtered, tagged

SERVICE = "com.amazonaws.us-east-1.elastic-inference.runtime"
ROLE = "arn:aws:iam::000000000000:role/elastic-inference"


def document(principal: Any = "*", action: str = "*", effect: str = "Allow") -> str:
    """A policy of an endpoint."""
    statement = {"Effect": effect, "Principal": principal, "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def given(vpc_id: str, **more: Any) -> dict[str, Any]:
    """What an endpoint is made with."""
    return {"VpcId": vpc_id, "VpcEndpointType": "Interface", "ServiceName": SERVICE} | more


def described(ec2: Any, endpoint_id: str) -> Any:
    (endpoint,) = ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"]
    return endpoint


def network(ec2: Any, *, names: bool = True) -> tuple[str, str, str]:
    """A network of its own: its id, that of its subnet, that of its default group."""
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    if names:
        ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.0.0/24")["Subnet"]
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])[
        "SecurityGroups"
    ]
    return vpc_id, subnet["SubnetId"], group["GroupId"]


def test_an_endpoint_is_made_described_and_deleted(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id, subnet_id, default_group = network(ec2)
    group_id = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc_id)["GroupId"]
    made = ec2.create_vpc_endpoint(
        **given(
            vpc_id, SubnetIds=[subnet_id], SecurityGroupIds=[group_id], PrivateDnsEnabled=True,
            IpAddressType="ipv4", ServiceRegion=aws.region, PolicyDocument=document(),
            TagSpecifications=tagged("vpc-endpoint", Name="mine"),
        )
    )["VpcEndpoint"]  # fmt: skip
    endpoint_id = made["VpcEndpointId"]
    assert endpoint_id.startswith("vpce-")
    assert (made["State"], made["VpcEndpointType"]) == ("available", "Interface")
    assert (made["SubnetIds"], made["PrivateDnsEnabled"]) == ([subnet_id], True)
    assert made["Groups"] == [{"GroupId": group_id, "GroupName": "g"}]
    assert json.loads(made["PolicyDocument"]) == json.loads(document())
    assert made["Tags"] == [{"Key": "Name", "Value": "mine"}]
    assert described(ec2, endpoint_id) == made
    usual = ec2.create_vpc_endpoint(**given(vpc_id))["VpcEndpoint"]
    assert usual["Groups"] == [{"GroupId": default_group, "GroupName": "default"}]
    assert (usual["SubnetIds"], usual["PrivateDnsEnabled"]) == ([], True)
    assert json.loads(usual["PolicyDocument"])["Statement"][0]["Action"] == "*"
    answer = ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id, "vpce-00000000", "here"])
    assert [(each["ResourceId"], each["Error"]["Code"]) for each in answer["Unsuccessful"]] == [
        ("vpce-00000000", "InvalidVpcEndpointId.NotFound"),
        ("here", "InvalidVpcEndpointId.Malformed"),
    ]
    with refused("InvalidVpcEndpointId.NotFound", endpoint_id):
        described(ec2, endpoint_id)
    with refused("InvalidVpcEndpointId.NotFound", endpoint_id):
        ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, PrivateDnsEnabled=False)
    assert ec2.delete_vpc_endpoints(VpcEndpointIds=[usual["VpcEndpointId"]])["Unsuccessful"] == []


def test_what_an_endpoint_cannot_be(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id, subnet_id, group_id = network(ec2, names=False)
    (other,) = ec2.describe_subnets(Filters=[{"Name": "defaultForAz", "Values": ["true"]}])[
        "Subnets"
    ]

    def wrong(code: str, *words: str, **changes: Any) -> None:
        parameters = given(vpc_id, PrivateDnsEnabled=False) | changes
        with refused(code, *words):
            ec2.create_vpc_endpoint(
                **{name: each for name, each in parameters.items() if each is not None}
            )

    wrong("InvalidServiceName", SERVICE, ServiceName=SERVICE.replace("east-1", "west-2"))
    wrong("InvalidServiceName", ServiceRegion="us-west-2")
    wrong("MissingParameter", "serviceName", ServiceName=None)
    wrong("InvalidParameter", "(Gateway)", "Interface", VpcEndpointType=None)
    wrong("InvalidParameter", "(GatewayLoadBalancer)", VpcEndpointType="GatewayLoadBalancer")
    wrong("InvalidVpcID.NotFound", VpcId="vpc-0")
    wrong("InvalidSubnetID.NotFound", SubnetIds=["subnet-0"])
    wrong("InvalidSubnetID.NotFound", vpc_id, SubnetIds=[other["SubnetId"]])
    wrong("InvalidGroup.NotFound", SecurityGroupIds=["sg-00000000"])
    (foreign,) = filtered(
        ec2.describe_security_groups, "SecurityGroups", "GroupId",
        vpc_id=default_vpc(ec2), group_name="default",
    )  # fmt: skip
    wrong("InvalidGroup.NotFound", vpc_id, SecurityGroupIds=[group_id, foreign])
    wrong("InvalidParameter", "enableDnsHostnames", PrivateDnsEnabled=True)
    wrong("InvalidParameter", "enableDnsHostnames", PrivateDnsEnabled=None)
    for text in ("", "{}", "no JSON", document(action="everything"), '{"Statement":[]}'):
        wrong("InvalidPolicyDocument", PolicyDocument=text)
    without_principal = '{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
    wrong("InvalidPolicyDocument", "Principal", PolicyDocument=without_principal)
    wrong("InvalidPolicyDocument", "20480", PolicyDocument=document() + " " * 20480)
    wrong("UnsupportedOperation", "IpAddressType", IpAddressType="dualstack")
    for parameter in (
        {"RouteTableIds": ["rtb-1"]},
        {"DnsOptions": {"DnsRecordIpType": "ipv4"}},
        {"SubnetConfigurations": [{"SubnetId": subnet_id, "Ipv4": "10.0.0.9"}]},
    ):
        wrong("UnsupportedOperation", *parameter, **parameter)
    assert len(ec2.describe_vpc_endpoints()["VpcEndpoints"]) == 1


def test_a_client_token_makes_one_endpoint(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id, subnet_id, _ = network(ec2)
    parameters = given(vpc_id, SubnetIds=[subnet_id], ClientToken="once")
    first = ec2.create_vpc_endpoint(**parameters)
    again = ec2.create_vpc_endpoint(**parameters)
    assert first["ClientToken"] == "once"
    assert again["VpcEndpoint"] == first["VpcEndpoint"]
    with refused("IdempotentParameterMismatch", first["VpcEndpoint"]["VpcEndpointId"]):
        ec2.create_vpc_endpoint(**parameters | {"SubnetIds": []})
    other = ec2.create_vpc_endpoint(**parameters | {"ClientToken": "twice"})
    assert other["VpcEndpoint"]["VpcEndpointId"] != first["VpcEndpoint"]["VpcEndpointId"]


def test_an_endpoint_is_modified(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id, subnet_id, default_group = network(ec2, names=False)
    second = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group_id = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc_id)["GroupId"]
    endpoint_id = ec2.create_vpc_endpoint(
        **given(vpc_id, SubnetIds=[subnet_id], PrivateDnsEnabled=False)
    )["VpcEndpoint"]["VpcEndpointId"]

    def modify(**changes: Any) -> Any:
        assert ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, **changes)["Return"]
        return described(ec2, endpoint_id)

    assert modify(AddSubnetIds=[second, subnet_id])["SubnetIds"] == [subnet_id, second]
    assert modify(RemoveSubnetIds=[subnet_id], IpAddressType="ipv4")["SubnetIds"] == [second]
    groups = modify(AddSecurityGroupIds=[group_id])["Groups"]
    assert [each["GroupId"] for each in groups] == [default_group, group_id]
    groups = modify(RemoveSecurityGroupIds=[default_group])["Groups"]
    assert [each["GroupId"] for each in groups] == [group_id]
    closed = document(effect="Deny")
    assert modify(PolicyDocument=closed)["PolicyDocument"] == closed
    assert modify(PrivateDnsEnabled=False)["PolicyDocument"] == closed
    assert modify(ResetPolicy=True)["PolicyDocument"] != closed
    with refused("InvalidParameterCombination", "resetPolicy"):
        modify(PolicyDocument=closed, ResetPolicy=True)
    with refused("InvalidPolicyDocument"):
        modify(PolicyDocument="{")
    with refused("InvalidParameter", "enableDnsHostnames"):
        modify(PrivateDnsEnabled=True)
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    assert modify(PrivateDnsEnabled=True)["PrivateDnsEnabled"]
    for wrong, code in (
        ({"AddSubnetIds": ["subnet-0"]}, "InvalidSubnetID.NotFound"),
        ({"RemoveSubnetIds": [subnet_id]}, "InvalidSubnetID.NotFound"),
        ({"AddSecurityGroupIds": ["sg-00000000"]}, "InvalidGroup.NotFound"),
        ({"RemoveSecurityGroupIds": [default_group]}, "InvalidGroup.NotFound"),
        ({"AddRouteTableIds": ["rtb-1"]}, "UnsupportedOperation"),
        ({"IpAddressType": "ipv6"}, "UnsupportedOperation"),
    ):
        with refused(code):
            modify(**wrong)
    assert described(ec2, endpoint_id)["SubnetIds"] == [second]


def test_endpoints_are_filtered_and_paged(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id, _, _ = network(ec2)
    made = [
        ec2.create_vpc_endpoint(
            **given(vpc_id, TagSpecifications=tagged("vpc-endpoint", Number=str(number)))
        )["VpcEndpoint"]["VpcEndpointId"]
        for number in range(2)
    ]

    def found(**filters: Any) -> list[str]:
        return filtered(ec2.describe_vpc_endpoints, "VpcEndpoints", "VpcEndpointId", **filters)

    assert found(service_name=SERVICE, vpc_id=vpc_id) == made
    assert found(vpc_endpoint_state="available", tag__Number="1") == made[1:]
    assert found(vpc_endpoint_type="Interface", ip_address_type="ipv4", vpc_id=vpc_id) == made
    assert found(service_region=aws.region, vpc_endpoint_id=made[0]) == made[:1]
    assert found(vpc_endpoint_type="Gateway") == []
    first = ec2.describe_vpc_endpoints(MaxResults=2)
    rest = ec2.describe_vpc_endpoints(MaxResults=2, NextToken=first["NextToken"])
    assert "NextToken" not in rest
    pages = [each["VpcEndpointId"] for each in first["VpcEndpoints"] + rest["VpcEndpoints"]]
    assert pages[1:] == made
    with refused("InvalidParameterValue", "colour"):
        found(colour="red")


def test_endpoint_services(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    answer = ec2.describe_vpc_endpoint_services(ServiceNames=[SERVICE])
    assert answer["ServiceNames"] == [SERVICE]
    (detail,) = answer["ServiceDetails"]
    assert detail["AvailabilityZones"] == ["us-east-1a"]
    assert detail["ServiceType"] == [{"ServiceType": "Interface"}]

    def found(**filters: str) -> list[str]:
        return filtered(
            ec2.describe_vpc_endpoint_services, "ServiceDetails", "ServiceName", **filters
        )

    assert found(service_name=SERVICE) == found(service_name="*.elastic-inference.*") == [SERVICE]
    assert found(owner="amazon", service_type="Interface", service_region=aws.region) == [SERVICE]
    assert found(supported_ip_address_types="ipv6") == []
    assert found(service_name="com.amazonaws.us-east-1.s3") == []
    assert ec2.describe_vpc_endpoint_services(ServiceRegions=["us-west-2"])["ServiceNames"] == []
    with refused("InvalidServiceName", "s3"):
        ec2.describe_vpc_endpoint_services(ServiceNames=["com.amazonaws.us-east-1.s3"])


def test_no_service_has_a_prefix_list(aws: Aws) -> None:
    """Terraform asks for that of each endpoint."""
    ec2 = aws.client("ec2")
    named = [{"Name": "prefix-list-name", "Values": ["com.amazonaws.us-east-1.s3"]}]
    assert ec2.describe_prefix_lists(Filters=named)["PrefixLists"] == []
    with refused("InvalidParameterValue"):
        ec2.describe_prefix_lists(Filters=[{"Name": "nothing", "Values": ["a"]}])
    with refused("InvalidPrefixListId.NotFound"):
        ec2.describe_prefix_lists(PrefixListIds=["pl-12345678"])


def test_network_interfaces(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    (subnet,) = ec2.describe_subnets()["Subnets"]
    (group,) = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    store = aws.plane.store
    for number in range(1, 4):
        store.instances.add(
            records.Instance(
                id=f"i-0000000{number}", state=records.RUNNING, subnet_id=subnet["SubnetId"],
                group_ids=(group["GroupId"],), private_ip=f"172.31.0.{number + 3}",
                created_at=float(number),
            )
        )  # fmt: skip
    store.set_instance("i-00000003", state=records.TERMINATED)
    first, second = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert first["Attachment"]["InstanceId"] == "i-00000001"
    assert first["Groups"] == [{"GroupId": group["GroupId"], "GroupName": "default"}]
    assert (first["PrivateIpAddress"], first["Status"]) == ("172.31.0.4", "in-use")
    assert (first["SubnetId"], first["VpcId"]) == (subnet["SubnetId"], default_vpc(ec2))
    ids = [first["NetworkInterfaceId"], second["NetworkInterfaceId"]]

    def found(**filters: str) -> list[str]:
        return filtered(
            ec2.describe_network_interfaces, "NetworkInterfaces", "NetworkInterfaceId", **filters
        )

    by_dots = [{"Name": "attachment.instance-id", "Values": ["i-00000002"]}]
    (only,) = ec2.describe_network_interfaces(Filters=by_dots)["NetworkInterfaces"]
    assert only == second
    assert found(private_ip_address="172.31.0.4", status="in-use") == ids[:1]
    assert found(subnet_id=subnet["SubnetId"], group_name="default", interface_type="*") == ids
    assert found(group_id=group["GroupId"], mac_address=second["MacAddress"]) == ids[1:]
    assert found(network_interface_id=ids[0], vpc_id=subnet["VpcId"]) == ids[:1]
    assert found(availability_zone="us-east-1b") == []
    every = {
        "addresses.primary": "true",
        "addresses.private-ip-address": "172.31.0.4",
        "attachment.attachment-id": first["Attachment"]["AttachmentId"],
        "attachment.delete-on-termination": "true",
        "attachment.device-index": "0",
        "attachment.instance-owner-id": aws.account,
        "attachment.status": "attached",
        "description": "",
        "owner-id": aws.account,
        "requester-managed": "false",
        "source-dest-check": "true",
    }
    filters = [{"Name": name, "Values": [value]} for name, value in every.items()]
    assert ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"] == [first]
    store.set_instance("i-00000002", ec2={"AssociatePublicIpAddress": True})
    public = [{"Name": "association.public-ip", "Values": ["127.0.0.1"]}]
    (reached,) = ec2.describe_network_interfaces(Filters=public)["NetworkInterfaces"]
    assert reached["Association"] == reached["PrivateIpAddresses"][0]["Association"]
    assert reached["Association"]["PublicIp"] == "127.0.0.1"
    named = [{"Name": "association.public-dns-name", "Values": ["*"]}]
    assert ec2.describe_network_interfaces(Filters=named)["NetworkInterfaces"] == []
    store.set_instance("i-00000002", ec2={})
    by_id = ec2.describe_network_interfaces(NetworkInterfaceIds=ids[1:])["NetworkInterfaces"]
    assert by_id == [second]
    with refused("InvalidNetworkInterfaceID.NotFound", "eni-0"):
        ec2.describe_network_interfaces(NetworkInterfaceIds=["eni-0"])
    with refused("InvalidNetworkInterfaceId.Malformed"):
        ec2.describe_network_interfaces(NetworkInterfaceIds=["card"])
    with refused("UnsupportedOperation", "IncludeManagedResources"):
        ec2.describe_network_interfaces(IncludeManagedResources=True)


def test_who_may_change_endpoints(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id, subnet_id, group_id = network(ec2)
    other = ec2.create_security_group(GroupName="o", Description="o", VpcId=vpc_id)["GroupId"]
    prefix = f"arn:aws:ec2:{aws.region}:{aws.account}"
    ann = aws.client("ec2", key=aws.user("ann", {
        "Effect": "Allow",
        "Action": "ec2:CreateVpcEndpoint",
        "Resource": [f"{prefix}:{each}" for each in (
            "vpc-endpoint/*", f"vpc/{vpc_id}", f"subnet/{subnet_id}", f"security-group/{group_id}",
        )],
    }))  # fmt: skip
    made = ann.create_vpc_endpoint(**given(vpc_id, SubnetIds=[subnet_id]))["VpcEndpoint"]
    endpoint_id = made["VpcEndpointId"]
    with refused("UnauthorizedOperation", other, status=403):
        ann.create_vpc_endpoint(**given(vpc_id, SecurityGroupIds=[other]))
    with refused("UnauthorizedOperation", endpoint_id, status=403):
        ann.modify_vpc_endpoint(VpcEndpointId=endpoint_id, ResetPolicy=True)
    with refused("UnauthorizedOperation", endpoint_id, status=403):
        ann.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    assert described(ec2, endpoint_id) == made


def test_what_an_endpoint_lets_through(aws: Aws) -> None:
    """Groups, attributes and policies that are changed so decide who may connect."""
    ec2, plane = aws.client("ec2"), aws.plane
    instance, (accelerator,), key = plane.run_instance(["eia1.medium"], provider="command")
    assert key is not None
    (endpoint,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    endpoint_id, (group,) = endpoint["VpcEndpointId"], endpoint["Groups"]
    https = {
        "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
        "IpRanges": [{"CidrIp": "172.31.0.0/16"}],
    }  # fmt: skip
    turns = iter(range(100))

    def connects() -> bool:
        try:
            plane.connections.connect(
                principal_of(key), accelerator, nonce=f"nonce-of-16-chars-{next(turns)}"
            )
        except AccessDeniedError:
            return False
        return True

    assert connects()
    ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[https])
    assert not connects()
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[https])
    assert connects()
    for text, allowed in (
        (document(action="elastic-inference:Describe*"), False),
        (document({"AWS": ROLE}, "elastic-inference:Connect"), True),
        (document({"AWS": ROLE.replace("elastic", "plastic")}), False),
    ):
        ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, PolicyDocument=text)
        assert connects() is allowed
    # One endpoint that lets it through is enough.
    open_one = ec2.create_vpc_endpoint(
        **given(
            endpoint["VpcId"], SubnetIds=[instance.subnet_id],
            SecurityGroupIds=[group["GroupId"]],
        )
    )["VpcEndpoint"]  # fmt: skip
    assert connects()
    ec2.delete_vpc_endpoints(VpcEndpointIds=[open_one["VpcEndpointId"]])
    assert not connects()
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, ResetPolicy=True)
    assert connects()
    ec2.modify_vpc_attribute(VpcId=endpoint["VpcId"], EnableDnsSupport={"Value": False})
    assert connects()
    (note,) = plane.network.obstacles(instance)
    assert (note.code, note.blocking) == ("private-dns", False)
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, RemoveSubnetIds=[instance.subnet_id])
    assert not connects()
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    with pytest.raises(AccessDeniedError, match="has no endpoint"):
        plane.connections.connect(principal_of(key), accelerator, nonce="nonce-of-16-chars-x")
