"""What an instance needs to reach its accelerators, made where it is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from elastic_inference.setup.services import Services

# The original's names, so that both tools find what either made.
ROLE = "Amazon-Elastic-Inference-Connect-Role"
POLICY = "Amazon-Elastic-Inference-Connect-Policy"
PROFILE = "Amazon-Elastic-Inference-Instance-Profile"
GROUP = "amazon_ei_security_group"
HTTPS, SSH = 443, 22
_ANYWHERE = "0.0.0.0/0"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": ["sts:AssumeRole"],
        }
    ],
}
# To connect, and to check the instance's own setup.
_DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "elastic-inference:Connect",
                "elastic-inference:DescribeAccelerators",
                "iam:List*",
                "iam:Get*",
                "ec2:Describe*",
                "ec2:Get*",
            ],
            "Resource": "*",
        }
    ],
}
Say = Callable[[str], None]


def service_name(region: str) -> str:
    """The service that endpoints are for."""
    return f"com.amazonaws.{region}.elastic-inference.runtime"


class Steps:
    """The steps. Each leaves alone what is there already.

    Args:
        say: what was done is told by it.
    """

    def __init__(self, services: Services, say: Say = print) -> None:
        self._region = services.region
        self._ec2 = services.client("ec2")
        self._iam = services.client("iam")
        self._say = say

    # -- rights -----------------------------------------------------------------------------------

    def profile(self) -> str:
        """The instance profile, with a role that may connect."""
        role = self._role()
        found = self._iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]
        if found:
            return str(found[0]["InstanceProfileName"])
        self._made(
            lambda: self._iam.create_instance_profile(InstanceProfileName=PROFILE),
            f"Created the instance profile {PROFILE}.",
        )
        self._iam.add_role_to_instance_profile(InstanceProfileName=PROFILE, RoleName=role)
        return PROFILE

    def _role(self) -> str:
        self._made(
            lambda: self._iam.create_role(
                RoleName=ROLE, Path="/", AssumeRolePolicyDocument=json.dumps(_TRUST)
            ),
            f"Created the role {ROLE}.",
        )
        attached = self._iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]
        if all(each["PolicyName"] != POLICY for each in attached):
            self._iam.attach_role_policy(RoleName=ROLE, PolicyArn=self._policy())
            self._say(f" Attached the policy {POLICY} to it.")
        return ROLE

    def _policy(self) -> str:
        pages = self._iam.get_paginator("list_policies").paginate(Scope="Local")
        for page in pages:
            for each in page["Policies"]:
                if each["PolicyName"] == POLICY:
                    return str(each["Arn"])
        made = self._iam.create_policy(
            PolicyName=POLICY, Path="/", PolicyDocument=json.dumps(_DOCUMENT),
            Description="Lets instances connect to their accelerators and check their setup.",
        )  # fmt: skip
        return str(made["Policy"]["Arn"])

    def _made(self, make: Callable[[], object], done: str) -> None:
        """Make something, unless it is there."""
        try:
            make()
        except self._iam.exceptions.EntityAlreadyExistsException:
            return
        self._say(f" {done}")

    # -- network ----------------------------------------------------------------------------------

    def zones(self) -> list[str]:
        """The zones in which the service is; none where it is not in the region."""
        wanted = [{"Name": "service-name", "Values": [service_name(self._region)]}]
        answer = self._ec2.describe_vpc_endpoint_services(Filters=wanted)
        found = [zone for each in answer["ServiceDetails"] for zone in each["AvailabilityZones"]]
        return list(dict.fromkeys(found))

    def groups(self, vpc: str) -> list[Mapping[str, Any]]:
        """The security groups of a network that let HTTPS and SSH in."""
        ports = [
            {"Name": f"ip-permission.{end}-port", "Values": [str(port)]}
            for port in (HTTPS, SSH)
            for end in ("from", "to")
        ]
        filters = [*ports, {"Name": "vpc-id", "Values": [vpc]}]
        found: list[Mapping[str, Any]] = self._ec2.describe_security_groups(Filters=filters)[
            "SecurityGroups"
        ]
        return found

    def make_group(self, vpc: str) -> str:
        """A security group that lets HTTPS and SSH in, and everything out."""
        named = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [GROUP]}]
        found = self._ec2.describe_security_groups(Filters=named)["SecurityGroups"]
        if found:
            group, there = str(found[0]["GroupId"]), _open_ports(found[0])
        else:
            made = self._ec2.create_security_group(
                GroupName=GROUP, VpcId=vpc, Description="Lets instances reach their accelerators."
            )
            group, there = str(made["GroupId"]), set()
            self._say(f" Created the security group {group} ({GROUP}).")
        for port in sorted({HTTPS, SSH} - there):
            self._ec2.authorize_security_group_ingress(
                GroupId=group, IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp=_ANYWHERE
            )
        return group

    def endpoint(self, vpc: str, subnet: str, group: str) -> str:
        """The network's endpoint, for that subnet, with that group and a private name."""
        for name in ("EnableDnsSupport", "EnableDnsHostnames"):
            self._ec2.modify_vpc_attribute(VpcId=vpc, **{name: {"Value": True}})
        found = self._ec2.describe_vpc_endpoints(
            Filters=[
                {"Name": "service-name", "Values": [service_name(self._region)]},
                {"Name": "vpc-id", "Values": [vpc]},
            ]
        )["VpcEndpoints"]
        if not found:
            made = self._ec2.create_vpc_endpoint(
                VpcEndpointType="Interface", VpcId=vpc, ServiceName=service_name(self._region),
                SubnetIds=[subnet], SecurityGroupIds=[group], PrivateDnsEnabled=True,
            )["VpcEndpoint"]  # fmt: skip
            self._say(f" Created the endpoint {made['VpcEndpointId']}.")
            return str(made["VpcEndpointId"])
        return self._complete(found[0], subnet, group)

    def _complete(self, endpoint: Mapping[str, Any], subnet: str, group: str) -> str:
        known = str(endpoint["VpcEndpointId"])
        lacks: dict[str, Any] = {}
        if subnet not in endpoint["SubnetIds"]:
            lacks["AddSubnetIds"] = [subnet]
        if group not in [each["GroupId"] for each in endpoint["Groups"]]:
            lacks["AddSecurityGroupIds"] = [group]
        if not endpoint["PrivateDnsEnabled"]:
            lacks["PrivateDnsEnabled"] = True
        if lacks:
            self._ec2.modify_vpc_endpoint(VpcEndpointId=known, **lacks)
            self._say(f" Added to the endpoint {known}: {', '.join(lacks)}.")
        return known


def _open_ports(group: Mapping[str, Any]) -> set[int]:
    """The ports that a group has a rule of its own for."""
    rules = group.get("IpPermissions", [])
    return {each["FromPort"] for each in rules if each.get("FromPort") == each.get("ToPort", -2)}
