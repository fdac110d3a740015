"""What AWS's API says of an instance's network and role, in the control plane's own words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from elastic_inference.control import network_rules, policy
from elastic_inference.control.network_rules import Endpoint, Obstacle, Rule, SecurityGroup, Subnet
from elastic_inference.control.policy import Policy
from elastic_inference.setup.steps import HTTPS, service_name

Document = Mapping[str, Any]
_DNS = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}


def obstacles(ec2: Any, instance: Document, region: str) -> list[Obstacle]:
    """What keeps an instance from its network's endpoint.

    Args:
        ec2: a client.
        instance: as DescribeInstances tells of it.
    """
    own = [group["GroupId"] for each in instance["NetworkInterfaces"] for group in each["Groups"]]
    endpoints = _endpoints(ec2, instance["VpcId"], region)
    wanted = {*own, *(group for each in endpoints for group in each.group_ids)}
    return network_rules.obstacles(
        _subnet(ec2, instance["SubnetId"]),
        own,
        instance["PrivateIpAddress"],
        endpoints,
        _groups(ec2, instance["VpcId"], wanted),
        port=HTTPS,
        service=service_name(region),
    )


def policies(iam: Any, role: str) -> list[Policy]:
    """The policies that a role has, attached and its own.

    Args:
        iam: a client.
    """
    attached = iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
    own = iam.get_paginator("list_role_policies").paginate(RoleName=role)
    found = [_attached(iam, each) for page in attached for each in page["AttachedPolicies"]]
    for page in own:
        for name in page["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            found.append(policy.parse(json.dumps(document), name=name))
    return found


def _attached(iam: Any, attached: Document) -> Policy:
    arn = attached["PolicyArn"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    answer = iam.get_policy_version(PolicyArn=arn, VersionId=version)
    document = answer["PolicyVersion"]["Document"]
    return policy.parse(json.dumps(document), name=attached["PolicyName"])


def _subnet(ec2: Any, subnet_id: str) -> Subnet:
    (found,) = ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    return Subnet(subnet_id, found["VpcId"], found["CidrBlock"], found["AvailabilityZone"])


def _endpoints(ec2: Any, vpc: str, region: str) -> list[Endpoint]:
    answer = ec2.describe_vpc_endpoints(
        Filters=[
            {"Name": "service-name", "Values": [service_name(region)]},
            {"Name": "vpc-id", "Values": [vpc]},
        ]
    )
    lacks = next((name for name in _DNS if not _attribute(ec2, vpc, name)), "")
    return [
        Endpoint(
            each["VpcEndpointId"],
            vpc,
            tuple(each["SubnetIds"]),
            tuple(group["GroupId"] for group in each["Groups"]),
            each["State"],
            each["PrivateDnsEnabled"],
            each["ServiceName"],
            dns_lacks=lacks,
        )
        for each in answer["VpcEndpoints"]
    ]


def _attribute(ec2: Any, vpc: str, name: str) -> bool:
    answer = ec2.describe_vpc_attribute(VpcId=vpc, Attribute=name)
    return bool(answer[_DNS[name]]["Value"])


def _groups(ec2: Any, vpc: str, ids: Iterable[str]) -> dict[str, SecurityGroup]:
    # By a filter, since one of them may be gone.
    answer = ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": sorted(ids)}])
    return {
        each["GroupId"]: SecurityGroup(
            each["GroupId"],
            vpc,
            each["GroupName"],
            (
                *_rules("ingress", each["IpPermissions"]),
                *_rules("egress", each["IpPermissionsEgress"]),
            ),
        )
        for each in answer["SecurityGroups"]
    }


def _rules(direction: network_rules.Direction, permissions: Sequence[Document]) -> Iterator[Rule]:
    for each in permissions:
        kind = each["IpProtocol"]
        ports = each.get("FromPort", 0), each.get("ToPort", network_rules.HIGHEST_PORT)
        for network in each.get("IpRanges", ()):
            yield Rule(direction, kind, *ports, cidr=network["CidrIp"])
        for network in each.get("Ipv6Ranges", ()):
            yield Rule(direction, kind, *ports, cidr=network["CidrIpv6"])
        for pair in each.get("UserIdGroupPairs", ()):
            yield Rule(direction, kind, *ports, source_group=pair["GroupId"])
