"""RunInstances by boto3: what it makes, and what it refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.control import records
from tests.aws.conftest import Aws, StartAws
from tests.aws.launching import client, image, one, request, run, settle
from tests.aws.refusals import refused
from tests.aws.shapes import assert_shape_like_moto

PROFILE = {"Name": "elastic-inference"}


def test_an_instance_with_an_accelerator_from_request_to_end(aws: Aws) -> None:
    ec2 = client(aws)
    ec2.create_key_pair(KeyName="mine")
    launched = ec2.run_instances(
        **request(
            KeyName="mine",
            IamInstanceProfile=PROFILE,
            ElasticInferenceAccelerators=[{"Type": "eia.medium"}],
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "reader"}]}
            ],
        )
    )
    (instance,) = launched["Instances"]
    assert launched["OwnerId"] == aws.account
    assert instance["State"] == {"Code": 0, "Name": "pending"}
    (association,) = instance["ElasticInferenceAcceleratorAssociations"]
    assert association["ElasticInferenceAcceleratorAssociationState"] == "associating"
    instance_id = instance["InstanceId"]
    ec2.get_waiter("instance_running").wait(
        InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    running = one(aws, instance_id)
    (association,) = running["ElasticInferenceAcceleratorAssociations"]
    assert association["ElasticInferenceAcceleratorAssociationState"] == "associated"
    accelerator_id = association["ElasticInferenceAcceleratorArn"].rpartition("/")[2]
    accelerators = aws.client("elastic-inference").describe_accelerators()["acceleratorSet"]
    assert [each["acceleratorId"] for each in accelerators] == [accelerator_id]
    assert running["Tags"] == [{"Key": "Name", "Value": "reader"}]
    assert running["KeyName"] == "mine"
    assert running["IamInstanceProfile"]["Arn"].endswith(":instance-profile/elastic-inference")
    assert running["PublicDnsName"] == ""
    (change,) = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert change["PreviousState"]["Name"] == "running"
    settle(aws, instance_id)
    ended = one(aws, instance_id)
    assert ended["State"] == {"Code": 48, "Name": "terminated"}
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert "ElasticInferenceAcceleratorAssociations" not in ended
    assert "NetworkInterfaces" not in ended or ended["NetworkInterfaces"] == []
    assert aws.client("elastic-inference").describe_accelerators()["acceleratorSet"] == []


def test_the_call_of_the_original_set_up(aws: Aws) -> None:
    ec2 = client(aws)
    ec2.create_key_pair(KeyName="mine")
    (subnet,) = ec2.describe_subnets()["Subnets"]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    chosen = next(each["GroupId"] for each in groups if each["GroupName"] != "default")
    (instance,) = ec2.run_instances(
        **request(
            KeyName="mine",
            IamInstanceProfile=PROFILE,
            ElasticInferenceAccelerators=[{"Type": "eia1.medium"}],
            NetworkInterfaces=[
                {
                    "SubnetId": subnet["SubnetId"],
                    "DeviceIndex": 0,
                    "AssociatePublicIpAddress": True,
                    "Groups": [chosen],
                }
            ],
        )
    )["Instances"]
    (interface,) = instance["NetworkInterfaces"]
    assert [each["GroupId"] for each in interface["Groups"]] == [chosen]
    assert interface["SubnetId"] == instance["SubnetId"] == subnet["SubnetId"]
    # It is reached where its machine is.
    assert instance["PublicDnsName"] == "127.0.0.1"
    (interface,) = instance["NetworkInterfaces"]
    assert interface["Association"] == {
        "IpOwnerId": "amazon", "PublicDnsName": "127.0.0.1", "PublicIp": "127.0.0.1",
    }  # fmt: skip
    (described,) = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert described["NetworkInterfaceId"] == interface["NetworkInterfaceId"]
    assert described["MacAddress"] == interface["MacAddress"]
    settle(aws, instance["InstanceId"])


def test_the_instance_is_told_what_it_was_launched_with(aws: Aws) -> None:
    key = client(aws).create_key_pair(KeyName="mine", KeyType="ed25519")
    del key
    (instance_id,) = run(
        aws,
        KeyName="mine",
        IamInstanceProfile=PROFILE,
        MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "disabled"},
    )
    compute = aws.plane.compute
    assert compute is not None
    base = compute.environment(instance_id)["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    document = aws.pool._document_of(instance_id)
    assert document is not None
    assert document.image_id == image()
    assert document.instance_type == "m5.large"
    assert document.profile == "elastic-inference"
    assert document.public_key.endswith(" mine")
    assert document.tokens_required
    assert document.tags_hidden
    assert document.credentials is not None
    assert document.vpc_id.startswith("vpc-")
    assert list(document.security_groups.values()) == ["default"]
    assert base.startswith("http://")


def test_without_a_profile_an_instance_has_no_credentials(aws: Aws) -> None:
    (instance_id,) = run(aws)
    assert "IamInstanceProfile" not in one(aws, instance_id)
    document = aws.pool._document_of(instance_id)
    assert document is not None
    assert document.credentials is None


def test_several_at_once_share_a_reservation(aws: Aws) -> None:
    launched = client(aws).run_instances(**request(MinCount=2, MaxCount=3))
    instances = launched["Instances"]
    assert [each["AmiLaunchIndex"] for each in instances] == [0, 1, 2]
    assert len({each["PrivateIpAddress"] for each in instances}) == 3
    settle(aws, *(each["InstanceId"] for each in instances))
    (reservation,) = client(aws).describe_instances()["Reservations"]
    assert reservation["ReservationId"] == launched["ReservationId"]
    assert {each["State"]["Name"] for each in reservation["Instances"]} == {"running"}


def test_as_many_are_made_as_there_is_room_for(start_aws: StartAws) -> None:
    aws = start_aws(node_memory=2 << 30)
    wanted = {"ElasticInferenceAccelerators": [{"Type": "eia1.medium"}]}
    with refused("InsufficientInstanceCapacity", status=503):
        client(aws).run_instances(**request(MinCount=3, MaxCount=5, **wanted))
    assert aws.plane.store.instances.where() == []
    assert len(run(aws, MaxCount=5, **wanted)) == 2
    with refused("InsufficientInstanceCapacity", status=503):
        client(aws).run_instances(**request(**wanted))


def test_where_one_cannot_start_it_says_why(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    from elastic_inference.errors import UnavailableError

    def fail(*_: object) -> None:
        raise UnavailableError("The accelerator did not start.")

    monkeypatch.setattr(aws.plane.fleet, "start", fail)
    (instance,) = client(aws).run_instances(
        **request(ElasticInferenceAccelerators=[{"Type": "eia1.medium"}])
    )["Instances"]
    settle(aws, instance["InstanceId"])
    ended = one(aws, instance["InstanceId"])
    assert ended["State"]["Name"] == "terminated"
    assert ended["StateReason"] == {
        "Code": "Server.InternalError",
        "Message": "Server.InternalError: The accelerator did not start.",
    }


def test_a_token_means_the_same_instances(aws: Aws) -> None:
    ec2 = client(aws)
    wanted = request(MinCount=2, MaxCount=2, ClientToken="once")
    first = ec2.run_instances(**wanted)
    again = ec2.run_instances(**wanted)
    ids = [each["InstanceId"] for each in first["Instances"]]
    assert [each["InstanceId"] for each in again["Instances"]] == ids
    assert again["ReservationId"] == first["ReservationId"]
    assert one(aws, ids[0])["ClientToken"] == "once"
    with refused("IdempotentParameterMismatch"):
        ec2.run_instances(**wanted | {"InstanceType": "m5.xlarge"})
    with refused("InvalidParameterValue"):
        ec2.run_instances(**request(ClientToken="t" * 65))
    assert len(aws.plane.store.instances.where()) == 2


def test_two_calls_with_one_token_make_one_instance(aws: Aws) -> None:
    wanted, ec2 = request(ClientToken="once"), client(aws)
    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(lambda _: ec2.run_instances(**wanted), range(2)))
    first, second = (each["Instances"][0]["InstanceId"] for each in answers)
    assert first == second
    assert len(aws.plane.store.instances.where()) == 1
    settle(aws, first)


def test_user_data_runs_at_the_first_start(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, scripts = aws.plane.compute, list[str]()
    assert compute is not None
    script = "#!/bin/sh\necho hello\n"
    if not compute.isolated:
        with refused("UnsupportedOperation", "runs no user data"):
            client(aws).run_instances(**request(UserData=script))
    monkeypatch.setattr(type(compute), "isolated", True)
    monkeypatch.setattr(compute, "first_boot", lambda _, text: scripts.append(text))
    (name,) = run(aws, UserData=script)
    client(aws).stop_instances(InstanceIds=[name])
    settle(aws, name)
    client(aws).start_instances(InstanceIds=[name])
    settle(aws, name)
    assert scripts == [script]


def test_what_is_pending_when_the_pool_ends_starts_with_the_next(start_aws: StartAws) -> None:
    first = start_aws()
    first.plane._background.close()
    (instance,) = client(first).run_instances(**request())["Instances"]
    assert one(first, instance["InstanceId"])["State"]["Name"] == "pending"
    first.pool.close()
    second = start_aws()
    assert one(second, instance["InstanceId"])["State"]["Name"] == "running"


_REFUSED: list[tuple[dict[str, Any], str]] = [
        ({"ImageId": "ami-nothing"}, "InvalidAMIID.Malformed"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "x1.16xlarge"}, "InvalidParameterValue"),
        ({"InstanceType": "m5.huge"}, "InvalidParameterValue"),
        ({"InstanceType": "p3.2xlarge"}, "Unsupported"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"SecurityGroups": ["nobody"]}, "InvalidGroup.NotFound"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
        (
            {"IamInstanceProfile": {"Arn": "arn:aws:iam::1:instance-profile/x"}},
            "InvalidParameterValue",
        ),
        ({"IamInstanceProfile": {"Name": "a", "Arn": "b"}}, "InvalidParameterCombination"),
        ({"ElasticInferenceAccelerators": [{"Type": "eia9.huge"}]}, "InvalidParameterValue"),
        (
            {"ElasticInferenceAccelerators": [{"Type": "eia1.medium", "Count": 6}]},
            "InvalidParameterValue",
        ),
        (
            {"ElasticInferenceAccelerators": [{"Type": "eia1.medium"}, {"Type": "eia2.medium"}]},
            "InvalidParameterCombination",
        ),
        ({"MinCount": 2}, "InvalidParameterCombination"),
        ({"MinCount": 0}, "InvalidParameterValue"),
        ({"MaxCount": 101}, "InstanceLimitExceeded"),
        ({"Placement": {"AvailabilityZone": "us-east-1f"}}, "InvalidParameterValue"),
        ({"Placement": {"Tenancy": "dedicated"}}, "UnsupportedOperation"),
        ({"Placement": {"GroupName": "near"}}, "UnsupportedOperation"),
        ({"Monitoring": {"Enabled": True}}, "UnsupportedOperation"),
        ({"EbsOptimized": True}, "UnsupportedOperation"),
        ({"InstanceInitiatedShutdownBehavior": "terminate"}, "UnsupportedOperation"),
        ({"HibernationOptions": {"Configured": True}}, "UnsupportedOperation"),
        ({"EnclaveOptions": {"Enabled": True}}, "UnsupportedOperation"),
        ({"MetadataOptions": {"HttpEndpoint": "disabled"}}, "UnsupportedOperation"),
        ({"MetadataOptions": {"HttpPutResponseHopLimit": 65}}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/sda1"}]}, "UnsupportedOperation"),
        ({"InstanceMarketOptions": {"MarketType": "spot"}}, "UnsupportedOperation"),
        ({"CreditSpecification": {"CpuCredits": "standard"}}, "UnsupportedOperation"),
        ({"PrivateIpAddress": "172.31.0.77"}, "UnsupportedOperation"),
        ({"NetworkInterfaces": [{"DeviceIndex": 1}]}, "UnsupportedOperation"),
        ({"NetworkInterfaces": [{"NetworkInterfaceId": "eni-1"}]}, "UnsupportedOperation"),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0, "DeleteOnTermination": False}]},
            "UnsupportedOperation",
        ),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0}], "SubnetId": "subnet-1"},
            "InvalidParameterCombination",
        ),
        ({"SubnetId": "subnet-1", "SecurityGroups": ["a"]}, "InvalidParameterCombination"),
        ({"UserData": b"\x1f\x8b\xff"}, "InvalidParameterValue"),
        ({"UserData": "#cloud-config\n"}, "InvalidParameterValue"),
        (
            {"TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "a"}]}]},
            "UnsupportedOperation",
        ),
        (
            {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "aws:a"}]}]},
            "InvalidParameterValue",
        ),
        ({"LaunchTemplate": {"LaunchTemplateName": "nobody"}},
         "InvalidLaunchTemplateName.NotFoundException"),
    ]  # fmt: skip


def test_what_is_not_there_or_not_done_is_refused(aws: Aws) -> None:
    ec2, least = client(aws), request()
    for parameters, code in _REFUSED:
        with refused(code):
            ec2.run_instances(**least | parameters)
    assert aws.plane.store.instances.where() == []


def test_what_is_missing_is_named(aws: Aws) -> None:
    ec2 = client(aws)
    for name in ("ImageId", "InstanceType"):
        wanted = request()
        del wanted[name]
        with refused("MissingParameter"):
            ec2.run_instances(**wanted)


def test_values_that_are_the_only_ones_are_taken(aws: Aws) -> None:
    (instance_id,) = run(
        aws,
        Placement={"AvailabilityZone": "us-east-1a", "Tenancy": "default"},
        Monitoring={"Enabled": False},
        EbsOptimized=False,
        InstanceInitiatedShutdownBehavior="stop",
        HibernationOptions={"Configured": False},
        EnclaveOptions={"Enabled": False},
        CreditSpecification={"CpuCredits": "unlimited"},
        MetadataOptions={"HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 2},
    )
    assert one(aws, instance_id)["MetadataOptions"]["HttpPutResponseHopLimit"] == 2


def test_an_empty_text_is_as_good_as_nothing(aws: Aws) -> None:
    """Terraform writes them."""
    (instance_id,) = run(
        aws, SubnetId="", KeyName="", Placement={"AvailabilityZone": ""},
        CreditSpecification={"CpuCredits": ""},
    )  # fmt: skip
    assert one(aws, instance_id)["Placement"]["AvailabilityZone"] == "us-east-1a"
    assert one(aws, instance_id)["SubnetId"]


def test_what_is_refused_says_what_to_do(aws: Aws) -> None:
    ec2 = client(aws)
    with refused("InvalidParameterValue", "'m5.huge'", "describe-instance-type-offerings"):
        ec2.run_instances(**request(InstanceType="m5.huge"))
    with refused("InvalidParameterValue", "Ask for fewer", "EI_MAX_ACCELERATORS"):
        ec2.run_instances(
            **request(ElasticInferenceAccelerators=[{"Type": "eia1.medium", "Count": 6}])
        )


def test_a_dry_run_does_nothing(aws: Aws) -> None:
    with refused("DryRunOperation", status=412):
        client(aws).run_instances(**request(DryRun=True))
    assert aws.plane.store.instances.where() == []


def test_a_dry_run_succeeds_where_a_launch_would(aws: Aws) -> None:
    ec2 = client(aws)
    for given, code in (
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "m5.huge"}, "InvalidParameterValue"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"ElasticInferenceAccelerators": [{"Type": "eia9.huge"}]}, "InvalidParameterValue"),
        ({"MinCount": 2}, "InvalidParameterCombination"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
    ):
        with refused(code):
            ec2.run_instances(**request(**given, DryRun=True))


def test_a_profile_needs_a_role(aws: Aws) -> None:
    aws.client("iam").create_instance_profile(InstanceProfileName="bare")
    with refused("InvalidParameterValue"):
        client(aws).run_instances(**request(IamInstanceProfile={"Name": "bare"}))


# What each launch has, named or not.
PLACES = ("subnet", "security-group")


def allow(action: str | list[str], resource: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def test_a_role_is_passed_only_by_who_may(aws: Aws) -> None:
    key = aws.user("launcher", allow("ec2:*"))
    ec2 = aws.client("ec2", key=key)
    wanted = request(IamInstanceProfile=PROFILE)
    with refused("UnauthorizedOperation", status=403):
        ec2.run_instances(**wanted)
    arn = f"arn:aws:iam::{aws.account}:role/elastic-inference"
    passing = aws.user("passer", allow("ec2:*"), allow("iam:PassRole", arn))
    (instance,) = aws.client("ec2", key=passing).run_instances(**wanted)["Instances"]
    settle(aws, instance["InstanceId"])


def test_each_thing_that_a_launch_uses_must_be_allowed(aws: Aws) -> None:
    region, account = aws.region, aws.account
    mine = f"arn:aws:ec2:{region}::image/{image()}"
    own = [f"arn:aws:ec2:{region}:{account}:{each}/*" for each in ("instance", *PLACES)]
    key = aws.user("few", allow("ec2:RunInstances", [*own, mine]))
    ec2 = aws.client("ec2", key=key)
    (instance,) = ec2.run_instances(**request())["Instances"]
    settle(aws, instance["InstanceId"])
    client(aws).create_key_pair(KeyName="mine")
    with refused("UnauthorizedOperation", status=403):
        ec2.run_instances(**request(KeyName="mine"))
    with refused("UnauthorizedOperation", status=403):
        ec2.run_instances(
            **request(
                TagSpecifications=[
                    {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}
                ],
            )
        )


def test_an_accelerator_of_the_catalogue_may_be_the_users_own(
    start_aws: StartAws, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text('[types."tiny.one"]\nmemory_mib = 256\ntflops_fp32 = 0.1\ntflops_fp16 = 0.2\n')
    aws = start_aws(catalog=path)
    (instance_id,) = run(aws, ElasticInferenceAccelerators=[{"Type": "tiny.one"}])
    (accelerator,) = aws.plane.store.accelerators_of(instance_id)
    assert (accelerator.type, accelerator.state) == ("tiny.one", records.ASSOCIATED)


def test_the_answer_is_where_moto_has_it(aws: Aws) -> None:
    def steps(clients: Any) -> Any:
        ec2 = clients("ec2")
        found = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        ec2.create_key_pair(KeyName="mine")
        return ec2.run_instances(
            ImageId=found, InstanceType="m5.large", MinCount=1, MaxCount=1, KeyName="mine",
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}
            ],
        )  # fmt: skip

    answer = assert_shape_like_moto(
        aws.client,
        steps,
        {
            "Instances.PrivateDnsName": "no name leads to an instance",
            "Instances.NetworkInterfaces.PrivateDnsName": "no name leads to an instance",
            "Instances.NetworkInterfaces.PrivateIpAddresses.PrivateDnsName": "the same",
            "Instances.PublicDnsName": "only of one that was asked to be public",
            "Instances.PublicIpAddress": "only of one that was asked to be public",
            "Instances.NetworkInterfaces.Association": "there are no public addresses",
            "Instances.NetworkInterfaces.PrivateIpAddresses.Association": "the same",
            "Instances.NetworkInterfaces.Description": "it is empty",
            "Instances.BlockDeviceMappings": "an instance has a directory, no volumes",
            "Instances.CpuOptions": "an instance has the cores of its machine",
            "Instances.Platform": "it is no Windows",
            "Instances.SriovNetSupport": "there is no network card",
            "Instances.KernelId": "an instance has the kernel of its machine",
            "Instances.StateReason": "it is pending without a reason",
            "Instances.HibernationOptions": "there is no hibernation",
            "Instances.CapacityReservationSpecification": "there are no reservations",
            "Groups": "of EC2-Classic",
        },
    )
    settle(aws, answer["Instances"][0]["InstanceId"])
