"""`EISetupValidator`: what is well, what is not, and that its command mends it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.compute.metadata import MetadataService
from elastic_inference.setup import validator
from elastic_inference.setup.services import Services
from elastic_inference.setup.steps import POLICY, PROFILE, ROLE, Steps
from tests.aws.conftest import Aws
from tests.pools import PATIENCE

PASSED = "All the validation checks passed for Amazon EI from this instance - "
SSH = {"GroupName": "ssh", "Description": "SSH alone"}


class Ground:
    """An instance with an accelerator, all that it needs, and clients."""

    def __init__(self, pool: Aws) -> None:
        self.pool = pool
        self.ec2, self.iam = pool.client("ec2"), pool.client("iam")
        steps = Steps(Services(), lambda _: None)
        self.vpc = self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.subnet = self.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        self.group = steps.make_group(self.vpc)
        self.endpoint = steps.endpoint(self.vpc, self.subnet, self.group)
        self.profile = steps.profile()
        self.instance = self.launch(IamInstanceProfile={"Name": self.profile})

    def launch(self, **more: Any) -> str:
        answer = self.ec2.run_instances(
            ImageId=self.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            ElasticInferenceAccelerators=[{"Type": "eia1.medium"}],
            SecurityGroupIds=[self.group],
            **more,
        )
        instance: str = answer["Instances"][0]["InstanceId"]
        waiter = self.ec2.get_waiter("instance_running")
        waiter.wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return instance

    def checked(self, instance: str | None = None) -> list[validator.Check]:
        ((_, checks),) = validator.Validator(Services()).check([instance or self.instance])
        return list(checks)

    def wrong(self) -> list[validator.Check]:
        return [each for each in self.checked() if not each.ok]

    def mend(self, check: validator.Check) -> None:
        """Run the command that a check names."""
        self.pool.pool.pointer.save(self.pool.plane.settings.home)
        programs = str(Path(sys.executable).parent)
        done = subprocess.run(
            ["sh", "-c", f'PATH="{programs}:$PATH"; export EI_HOME="$0"; {check.fix}',
             str(self.pool.plane.settings.home)],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{check.fix}: {done.stderr}"


@pytest.fixture
def ground(pool: Aws) -> Ground:
    return Ground(pool)


def _no_policy(ground: Ground) -> None:
    arn = f"arn:aws:iam::{ground.pool.account}:policy/{POLICY}"
    ground.iam.detach_role_policy(RoleName=ROLE, PolicyArn=arn)


def _no_https_in(ground: Ground) -> None:
    # The network's own endpoint lets it in from the network.
    for each in ground.ec2.describe_vpc_endpoints()["VpcEndpoints"]:
        groups = [group["GroupId"] for group in each["Groups"]]
        ssh = ground.ec2.create_security_group(VpcId=ground.vpc, **SSH)["GroupId"]
        ground.ec2.modify_vpc_endpoint(
            VpcEndpointId=each["VpcEndpointId"], AddSecurityGroupIds=[ssh]
        )
        ground.ec2.modify_vpc_endpoint(
            VpcEndpointId=each["VpcEndpointId"], RemoveSecurityGroupIds=groups
        )


def _nothing_out(ground: Ground) -> None:
    (group,) = ground.ec2.describe_security_groups(GroupIds=[ground.group])["SecurityGroups"]
    ground.ec2.revoke_security_group_egress(
        GroupId=ground.group, IpPermissions=group["IpPermissionsEgress"]
    )


def _other_subnet(ground: Ground) -> None:
    other = ground.ec2.create_subnet(VpcId=ground.vpc, CidrBlock="172.31.64.0/20")["Subnet"]
    ground.ec2.modify_vpc_endpoint(VpcEndpointId=ground.endpoint, AddSubnetIds=[other["SubnetId"]])
    ground.ec2.modify_vpc_endpoint(VpcEndpointId=ground.endpoint, RemoveSubnetIds=[ground.subnet])


def _no_endpoint(ground: Ground) -> None:
    ground.ec2.delete_vpc_endpoints(VpcEndpointIds=[ground.endpoint])


def _no_role(ground: Ground) -> None:
    ground.iam.remove_role_from_instance_profile(InstanceProfileName=PROFILE, RoleName=ROLE)


def _detached(ground: Ground) -> None:
    (accelerator,) = ground.pool.plane.store.accelerators_of(ground.instance)
    ground.pool.plane.detach(accelerator.id)


BREAKS: dict[str, tuple[Callable[[Ground], None], str]] = {
    "a policy": (_no_policy, "elastic-inference:Connect"),
    "the subnet": (_other_subnet, "subnet-"),
    "the endpoint": (_no_endpoint, "no endpoint"),
    "the way in": (_no_https_in, "443"),
    "the way out": (_nothing_out, "443"),
    "the accelerator": (_detached, "No accelerator"),
}


@pytest.mark.slow
def test_what_is_missing_comes_with_the_command_that_mends_it(ground: Ground) -> None:
    assert ground.wrong() == []
    for what, (break_it, says) in BREAKS.items():
        break_it(ground)
        (check,) = ground.wrong()
        assert says in check.message, what
        ground.mend(check)
        assert ground.wrong() == [], f"{what}: {check.fix}"
    _no_role(ground)
    (check,) = ground.wrong()
    assert "has no role" in check.message
    ground.iam.delete_instance_profile(InstanceProfileName=PROFILE)
    (check,) = ground.wrong()
    assert "is gone" in check.message


def test_private_names_that_are_not_resolved_are_told(ground: Ground) -> None:
    ground.ec2.modify_vpc_attribute(VpcId=ground.vpc, EnableDnsHostnames={"Value": False})
    notes = [each for each in ground.checked() if each.ok and each.fix]
    assert ["enableDnsHostnames" in each.message for each in notes] == [True]
    ground.mend(notes[0])
    assert [each for each in ground.checked() if each.fix] == []


@pytest.mark.slow
def test_it_says_all_is_well_or_what_is_not(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validator.main(["--instance-ids", ground.instance]) == 0
    assert f"{PASSED}{ground.instance}" in capsys.readouterr().out
    bare = ground.launch()
    assert validator.main(["--instance-ids", ground.instance, bare]) == 1
    said = capsys.readouterr().out
    assert f"{PASSED}{ground.instance}" in said
    assert f"{PASSED}{bare}" not in said
    assert "no instance profile" in said
    ground.ec2.stop_instances(InstanceIds=[ground.instance])
    waiter = ground.ec2.get_waiter("instance_stopped")
    waiter.wait(InstanceIds=[ground.instance], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert validator.main(["--instance-ids", ground.instance]) == 1
    said = capsys.readouterr().out
    assert f"aws ec2 start-instances --instance-ids {ground.instance}" in said
    assert "No accelerator" not in said


def test_a_deny_is_found_in_the_role_s_own_policies(ground: Ground) -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Action": "elastic-inference:Connect", "Resource": "*"}],
    }
    ground.iam.put_role_policy(
        RoleName=ROLE, PolicyName="never", PolicyDocument=json.dumps(document)
    )
    (check,) = ground.wrong()
    assert "never" in check.message
    assert "denies" in check.message


def test_in_an_instance_it_finds_itself(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service = MetadataService(lambda: ground.pool.pool._document_of(ground.instance))
    try:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        assert validator.main([]) == 0
        assert f"{PASSED}{ground.instance}" in capsys.readouterr().out
        _no_policy(ground)
        assert validator.main([]) == 1
    finally:
        service.close()
    assert "UnauthorizedOperation" in capsys.readouterr().err


def test_what_may_not_be_looked_at_is_said(pool: Aws, ground: Ground) -> None:
    looker = pool.user("looker", {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", looker.id)
        patch.setenv("AWS_SECRET_ACCESS_KEY", looker.secret)
        (check,) = ground.wrong()
    assert "Not checked" in check.message
    assert "iam:GetInstanceProfile" in check.message


@pytest.mark.usefixtures("pool")
def test_outside_of_an_instance_one_is_to_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    assert validator.main([]) == 2
    assert "--instance-ids" in capsys.readouterr().err
    assert validator.main(["--instance-ids", "i-12345678901234567"]) == 1
    assert "i-12345678901234567" in capsys.readouterr().err
