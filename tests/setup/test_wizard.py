"""`amazonei_setup`: questions, one line, and what it makes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.setup import wizard
from elastic_inference.setup.questions import Questions
from elastic_inference.setup.services import Services
from elastic_inference.setup.steps import GROUP, POLICY, PROFILE, ROLE, Steps
from tests.aws.conftest import Aws


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _answers(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    given: Iterator[str] = iter(answers)

    def ask(prompt: str) -> str:
        assert "amazonei-wizard>" in prompt
        try:
            return next(given)
        except StopIteration:
            raise EOFError from None

    # What `Questions` asks by, where it is made.
    monkeypatch.setattr(wizard, "Questions", lambda *, assume: Questions(assume=assume, ask=ask))


def test_one_line_does_it_all(pool: Aws, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--instance-type", "m5.large", "--accelerator-type", "eia1.medium", "--yes"]
    assert wizard.main(words) == 0
    said = capsys.readouterr().out
    ec2 = pool.client("ec2")
    ((instance,),) = [each["Instances"] for each in ec2.describe_instances()["Reservations"]]
    assert f"Launched instance successfully. The instance ID is '{instance['InstanceId']}'." in said
    assert instance["State"]["Name"] == "running"
    assert instance["InstanceType"] == "m5.large"
    assert len(instance["ElasticInferenceAcceleratorAssociations"]) == 1
    assert instance["IamInstanceProfile"]["Arn"].endswith(f"/{PROFILE}")
    key = here / "elastic-inference.pem"
    assert key.read_text().startswith("-----BEGIN")
    assert key.stat().st_mode & 0o777 == 0o600
    assert instance["KeyName"] == "elastic-inference"
    groups = [each["GroupName"] for each in instance["SecurityGroups"]]
    assert groups == [GROUP]
    image = ec2.describe_images(ImageIds=[instance["ImageId"]])["Images"][0]
    assert image["Name"].startswith("Deep Learning AMI (Amazon Linux)")


def test_questions_are_those_of_the_original(
    pool: Aws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ec2 = pool.client("ec2")
    for name in ("one", "two"):
        ec2.create_key_pair(KeyName=name)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for network in ("10.0.0.0/24", "10.0.1.0/24"):
        ec2.create_subnet(VpcId=vpc, CidrBlock=network)
    # Ubuntu, the second key, a mistake, eia1.medium, the second network, its second subnet.
    _answers(monkeypatch, "1", "1", "six", "6", "3", "1", "1", "what", "y")
    assert wizard.main(["--instance-type", "m5.xlarge"]) == 0
    said = capsys.readouterr().out
    assert said.count("Please enter a number from 0 to 5, inclusive.") == 2
    ((instance,),) = [each["Instances"] for each in ec2.describe_instances()["Reservations"]]
    assert (instance["KeyName"], instance["VpcId"]) == ("two", vpc)
    assert instance["PrivateIpAddress"].startswith("10.0.1.")
    (endpoint,) = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [vpc]}])[
        "VpcEndpoints"
    ]
    assert endpoint["SubnetIds"] == [instance["SubnetId"]]
    assert endpoint["PrivateDnsEnabled"]


@pytest.mark.slow
def test_who_quits_launches_nothing(
    pool: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for answers in (["q"], ["0", "Q"], ["0", "0", "q"]):
        with monkeypatch.context() as context:
            _answers(context, *answers)
            assert wizard.main([]) == 0
        assert "Nothing was launched." in capsys.readouterr().out
    assert pool.client("ec2").describe_instances()["Reservations"] == []


WRONG: tuple[tuple[list[str], str, int], ...] = (
    ([], "--operating-system", 2),
    (["--operating-system", "ubuntu", "--accelerator-type", "eia2.large"], "--yes", 2),
    (["--yes", "--operating-system", "plan9"], "amazon-linux", 2),
    (["--yes", "--accelerator-type", "eia9.huge"], "eia2.medium", 2),
    (["--yes", "--vpc-id", "vpc-12345678"], "vpc-", 2),
    (["--yes", "--region", "eu-west-1"], "region", 1),
    (["--yes", "--instance-type", "none.such"], "none.such", 1),
    (["--yes", "--endpoint-url", "https://127.0.0.1:9"], "127.0.0.1:9", 1),
)


@pytest.mark.slow
def test_what_is_wrong_is_said_in_one_line(
    pool: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    _answers(monkeypatch)
    for words, says, status in WRONG:
        assert wizard.main(words) == status, words
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("amazonei_setup: ")
        assert says in line
    assert pool.client("ec2").describe_instances()["Reservations"] == []


def test_a_key_s_file_is_never_written_over(
    pool: Aws, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.pem").write_text("mine")
    assert wizard.main(["--yes", "--key-name", "mine"]) == 1
    assert "mine.pem" in capsys.readouterr().err
    assert (here / "mine.pem").read_text() == "mine"
    assert pool.client("ec2").describe_key_pairs()["KeyPairs"] == []


# -- the steps ------------------------------------------------------------------------------------


def _steps() -> tuple[Steps, list[str]]:
    said: list[str] = []
    return Steps(Services(), said.append), said


def test_what_is_there_is_left_alone(pool: Aws) -> None:
    ec2 = pool.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]

    def everything() -> tuple[tuple[str, ...], list[str]]:
        steps, said = _steps()
        group = steps.make_group(vpc)
        return (steps.profile(), group, steps.endpoint(vpc, subnet, group)), said

    made, said = everything()
    assert len(said) == 5
    again, said = everything()
    assert (again, said) == (made, [])
    steps, _ = _steps()
    assert [each["GroupId"] for each in steps.groups(vpc)] == [made[1]]


def test_what_is_half_there_is_completed(pool: Aws) -> None:
    ec2, iam = pool.client("ec2"), pool.client("iam")
    steps, _ = _steps()
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=each)["Subnet"]["SubnetId"]
        for each in ("10.0.0.0/24", "10.0.1.0/24")
    ]
    group = steps.make_group(vpc)
    other = ec2.create_security_group(GroupName="other", Description="other", VpcId=vpc)["GroupId"]
    endpoint = steps.endpoint(vpc, subnets[0], other)
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, PrivateDnsEnabled=False)
    assert steps.endpoint(vpc, subnets[1], group) == endpoint
    (found,) = ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint])["VpcEndpoints"]
    assert set(found["SubnetIds"]) == set(subnets)
    assert {each["GroupId"] for each in found["Groups"]} == {group, other}
    assert found["PrivateDnsEnabled"]

    steps.profile()
    arn = f"arn:aws:iam::{pool.account}:policy/{POLICY}"
    iam.detach_role_policy(RoleName=ROLE, PolicyArn=arn)
    iam.remove_role_from_instance_profile(InstanceProfileName=PROFILE, RoleName=ROLE)
    assert steps.profile() == PROFILE
    (attached,) = iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]
    assert attached["PolicyArn"] == arn
    profile = iam.get_instance_profile(InstanceProfileName=PROFILE)["InstanceProfile"]
    assert [each["RoleName"] for each in profile["Roles"]] == [ROLE]

    ec2.revoke_security_group_ingress(
        GroupId=group, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )
    assert steps.groups(vpc) == []
    assert steps.make_group(vpc) == group
    assert len(steps.groups(vpc)) == 1


# -- where the pool is ----------------------------------------------------------------------------


def _without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)


def test_the_pool_of_this_user_is_found(
    pool: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without(monkeypatch)
    pool.pool.pointer.save(tmp_path)
    monkeypatch.setenv("EI_HOME", str(tmp_path))
    services = Services()
    assert services.region == pool.region
    identity: Any = services.client("sts").get_caller_identity()
    assert identity["Account"] == pool.account


def test_the_pool_of_an_instance_is_found(pool: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_ENDPOINT_URL")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EI_RUN", "1")
    endpoint = pool.pool.pointer.endpoint
    monkeypatch.setenv("AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME", endpoint)
    assert Services().client("ec2").describe_vpcs()["Vpcs"]


def test_no_pool_is_said_and_nothing_goes_to_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without(monkeypatch)
    monkeypatch.setenv("EI_HOME", str(tmp_path))
    monkeypatch.delenv("EI_RUN", raising=False)
    assert wizard.main(["--yes"]) == 1
    assert "ei up" in capsys.readouterr().err


def test_the_policy_is_that_of_the_guides_and_what_its_check_needs(pool: Aws) -> None:
    steps, _ = _steps()
    steps.profile()
    iam = pool.client("iam")
    arn = f"arn:aws:iam::{pool.account}:policy/{POLICY}"
    document = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    actions = set(document["Statement"][0]["Action"])
    guides = {"elastic-inference:Connect", "iam:List*", "iam:Get*", "ec2:Describe*", "ec2:Get*"}
    assert actions - guides == {"elastic-inference:DescribeAccelerators"}, json.dumps(document)
