"""The original's two scripts: their calls, one by one, and themselves where they can be had.

They are not part of this project. EI_ORIGINAL_TOOLS names a folder with `amazonei_setup.py` and
`EISetupValidator.py` to run them as they are; without it only their calls are made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.aws.conftest import Aws
from tests.pools import PATIENCE

ROLE, POLICY, PROFILE = "connect-role", "connect-policy", "connect-profile"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": ["sts:AssumeRole"],
        }
    ],
}
MAY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "elastic-inference:Connect", "iam:List*", "iam:Get*", "ec2:Describe*", "ec2:Get*",
            ],
            "Resource": "*",
        }
    ],
}  # fmt: skip
# Read before a fixture takes settings of outside away.
FOLDER = os.environ.get("EI_ORIGINAL_TOOLS")


def _filters(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [value]} for name, value in pairs]


def _images(ec2: Any, name: str) -> Any:
    found = ec2.describe_images(
        Owners=["amazon"],
        Filters=_filters(("name", name), ("architecture", "x86_64"), ("root-device-type", "ebs")),
    )["Images"]
    return max(found, key=lambda each: each["CreationDate"])


def _rights(iam: Any) -> None:
    assert ROLE not in [each["RoleName"] for each in iam.list_roles()["Roles"]]
    iam.create_role(AssumeRolePolicyDocument=json.dumps(TRUST), Path="/", RoleName=ROLE)
    made = iam.create_policy(
        PolicyName=POLICY, Path="/", PolicyDocument=json.dumps(MAY), Description="to connect"
    )
    iam.attach_role_policy(PolicyArn=made["Policy"]["Arn"], RoleName=ROLE)
    assert iam.list_instance_profiles_for_role(RoleName=ROLE)["InstanceProfiles"] == []
    iam.create_instance_profile(InstanceProfileName=PROFILE)
    iam.add_role_to_instance_profile(InstanceProfileName=PROFILE, RoleName=ROLE)
    (profile,) = iam.list_instance_profiles_for_role(RoleName=ROLE)["InstanceProfiles"]
    assert profile["InstanceProfileName"] == PROFILE


def _group(ec2: Any, vpc: str) -> str:
    both = _filters(
        ("ip-permission.from-port", "443"),
        ("ip-permission.to-port", "443"),
        ("ip-permission.from-port", "22"),
        ("ip-permission.to-port", "22"),
        ("vpc-id", vpc),
    )
    assert ec2.describe_security_groups(Filters=both)["SecurityGroups"] == []
    group: str = ec2.create_security_group(
        GroupName="amazon_ei_security_group", Description="for accelerators", VpcId=vpc
    )["GroupId"]
    for port in (443, 22):
        ec2.authorize_security_group_ingress(
            GroupId=group, IpProtocol="tcp", CidrIp="0.0.0.0/0", FromPort=port, ToPort=port
        )
    found = ec2.describe_security_groups(Filters=both)["SecurityGroups"]
    assert [each["GroupId"] for each in found] == [group]
    return group


def _endpoint(ec2: Any, service: str, vpc: str, group: str, subnet: str) -> None:
    """As the original has it where there is none, and where there is one."""
    named = _filters(("service-name", service), ("vpc-id", vpc))
    for each in ec2.describe_vpc_endpoints(Filters=named)["VpcEndpoints"]:
        assert group not in [one["GroupId"] for one in each["Groups"]]
        ec2.modify_vpc_endpoint(VpcEndpointId=each["VpcEndpointId"], AddSecurityGroupIds=[group])
        ec2.delete_vpc_endpoints(VpcEndpointIds=[each["VpcEndpointId"]])
    ec2.modify_vpc_attribute(EnableDnsSupport={"Value": True}, VpcId=vpc)
    ec2.modify_vpc_attribute(EnableDnsHostnames={"Value": True}, VpcId=vpc)
    ec2.create_vpc_endpoint(
        VpcEndpointType="Interface", VpcId=vpc, ServiceName=service, SubnetIds=[subnet],
        SecurityGroupIds=[group], PrivateDnsEnabled=True,
    )  # fmt: skip
    (endpoint,) = ec2.describe_vpc_endpoints(Filters=named)["VpcEndpoints"]
    assert (endpoint["SubnetIds"], endpoint["PrivateDnsEnabled"]) == ([subnet], True)
    assert [each["GroupId"] for each in endpoint["Groups"]] == [group]


def _set_up(ec2: Any, iam: Any, service: str) -> str:
    """The calls of amazonei_setup.py, in their order; the instance's id."""
    offered = ec2.describe_vpc_endpoint_services(Filters=_filters(("service-name", service)))
    assert offered["ServiceNames"] == [service]
    image = _images(ec2, "Deep Learning AMI (Ubuntu*")
    assert _images(ec2, "Deep Learning AMI (Amazon Linux)*")["Name"] != image["Name"]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    ec2.create_key_pair(KeyName="mine")
    (key,) = ec2.describe_key_pairs()["KeyPairs"]
    _rights(iam)
    (vpc,) = [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if each["IsDefault"] is True]
    group = _group(ec2, vpc)
    subnets = [
        subnet
        for zone in offered["ServiceDetails"][0]["AvailabilityZones"]
        for subnet in ec2.describe_subnets(
            Filters=_filters(("vpc-id", vpc), ("availability-zone", zone))
        )["Subnets"]
        if subnet["State"] == "available"
    ]
    subnet = subnets[0]["SubnetId"]
    _endpoint(ec2, service, vpc, group, subnet)
    launched = ec2.run_instances(
        ImageId=image["ImageId"], InstanceType="m5.large", KeyName=key["KeyName"], MaxCount=1,
        MinCount=1, IamInstanceProfile={"Name": PROFILE},
        ElasticInferenceAccelerators=[{"Type": "eia1.medium"}],
        NetworkInterfaces=[
            {
                "SubnetId": subnet, "DeviceIndex": 0, "AssociatePublicIpAddress": True,
                "Groups": [group],
            }
        ],
    )  # fmt: skip
    instance: str = launched["Instances"][0]["InstanceId"]
    waiter = ec2.get_waiter("instance_running")
    waiter.wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return instance


def _validate(ec2: Any, iam: Any, service: str, instance_id: str) -> None:
    """The calls of EISetupValidator.py, and what it wants of their answers."""
    listed = iam.get_account_authorization_details(Filter=["LocalManagedPolicy"])["Policies"]
    allowing = [
        policy["Arn"]
        for policy in listed
        for version in policy["PolicyVersionList"]
        if version["IsDefaultVersion"]
        for statement in version["Document"]["Statement"]
        if "elastic-inference:Connect" in statement["Action"] and statement["Resource"] == "*"
    ]
    ((instance,),) = [
        each["Instances"]
        for each in ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    ]
    assert instance["PublicDnsName"]
    assert instance["ElasticInferenceAcceleratorAssociations"]
    name = instance["IamInstanceProfile"]["Arn"].split("/")[-1]
    (role,) = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert {each["PolicyArn"] for each in attached} & set(allowing)
    vpc = instance["VpcId"]
    for attribute, member in (
        ("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames"),
    ):  # fmt: skip
        answer = ec2.describe_vpc_attribute(Attribute=attribute, VpcId=vpc)
        assert answer[member]["Value"] is True
    (endpoint,) = ec2.describe_vpc_endpoints(
        Filters=_filters(("service-name", service), ("vpc-id", vpc))
    )["VpcEndpoints"]
    assert (endpoint["State"], endpoint["PrivateDnsEnabled"]) == ("available", True)
    assert instance["SubnetId"] in endpoint["SubnetIds"]
    own = [group for each in instance["NetworkInterfaces"] for group in each["Groups"]]
    for groups, permissions in (
        (endpoint["Groups"], "IpPermissions"), (own, "IpPermissionsEgress"),
    ):  # fmt: skip
        found = ec2.describe_security_groups(GroupIds=[each["GroupId"] for each in groups])
        assert any(_lets_https(each[permissions]) for each in found["SecurityGroups"])


def _lets_https(permissions: Any) -> bool:
    for each in permissions:
        if each["IpProtocol"] in {"tcp", "-1"}:
            if "FromPort" not in each and "ToPort" not in each:
                return True
            if each["FromPort"] <= 443 <= each["ToPort"]:
                return True
    return False


def test_their_calls_are_answered_as_they_need_it(pool: Aws) -> None:
    ec2, iam = pool.client("ec2"), pool.client("iam")
    service = f"com.amazonaws.{pool.region}.elastic-inference.runtime"
    _validate(ec2, iam, service, _set_up(ec2, iam, service))


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="EI_ORIGINAL_TOOLS names no folder with the originals")
def test_they_run_to_their_ends(pool: Aws) -> None:
    def run(script: str, *words: str, answers: str = "") -> str:
        done = subprocess.run(
            [sys.executable, str(Path(FOLDER or "") / script), "--region", pool.region, *words],
            input=answers, capture_output=True, text=True, timeout=PATIENCE * 2, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ERROR" not in done.stderr
        assert "WARNING" not in done.stderr
        return done.stdout

    ec2 = pool.client("ec2")
    ec2.create_key_pair(KeyName="mine")
    for system in ("0", "1"):
        said = run("amazonei_setup.py", "--instance-type", "m5.large", answers=f"{system}\n3\ny\n")
        assert "Launched instance successfully." in said
        assert "You can use the following sample SSH command" in said
    ids = [
        instance["InstanceId"]
        for each in ec2.describe_instances()["Reservations"]
        for instance in each["Instances"]
    ]
    assert len(ids) == 2
    said = run("EISetupValidator.py", "--instance-ids", *ids)
    assert said.count("All the validation checks passed for Amazon EI") == 2
