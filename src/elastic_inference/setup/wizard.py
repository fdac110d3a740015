"""`amazonei_setup`: an instance with an accelerator, and all that it needs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError, UnavailableError
from elastic_inference.setup import console, options
from elastic_inference.setup.questions import Choice, Questions, QuitError
from elastic_inference.setup.services import Services
from elastic_inference.setup.steps import Steps

_SYSTEMS = (
    Choice("Deep Learning AMI (Amazon Linux)*", "Amazon Linux", ("amazon-linux",)),
    Choice("Deep Learning AMI (Ubuntu*", "Ubuntu", ("ubuntu",)),
)
_KEY_NAME = "elastic-inference"
# The second generation has twice the memory for less, so it comes first.
_FIRST = "eia2."
Say = Callable[[str], None]


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; 0 if all was done or given up, 2 for bad usage, 1 for a failure."""
    given = options.parser().parse_args(argv)
    return console.run("amazonei_setup", lambda: _run(given))


def _run(given: argparse.Namespace) -> bool:
    try:
        Wizard(given, Questions(assume=given.yes)).run()
    except QuitError:
        print("Nothing was launched.")
    return True


class Wizard:
    """One run of the set-up."""

    def __init__(self, given: argparse.Namespace, questions: Questions, say: Say = print) -> None:
        self._given = given
        self._questions = questions
        self._say = say
        services = Services(given.region, given.endpoint_url)
        self._region = services.region
        self._ec2 = services.client("ec2")
        self._accelerators = services.client("elastic-inference")
        self._steps = Steps(services, say)

    def run(self) -> str:
        """Ask, set up, launch and wait; the instance's id.

        Raises:
            QuitError: the user wants no more of it.
            ElasticInferenceError: it cannot be done, and why.
        """
        zones = self._steps.zones()
        if not zones:
            raise UnavailableError(
                f"Elastic Inference is not available in the region {self._region}.",
                next_step="Give the pool's own --region.",
            )
        image = self._image()
        self._say(f" Using the image {image['ImageId']}: {image['Name']}")
        key_name = self._key_pair()
        type_ = self._accelerator_type()
        self._say(f" Using the accelerator type {type_}")
        profile = self._steps.profile()
        vpc = self._network()
        self._say(f" Using the network {vpc}")
        group = self._group(vpc)
        self._say(f" Using the security group {group}")
        subnet = self._subnet(vpc, zones)
        self._say(f" Using the subnet {subnet}")
        self._steps.endpoint(vpc, subnet, group)
        self._confirm(image, key_name, type_, profile, group, subnet)
        return self._launch(
            {
                "ImageId": image["ImageId"],
                "InstanceType": self._given.instance_type,
                "IamInstanceProfile": {"Name": profile},
                "ElasticInferenceAccelerators": [{"Type": type_}],
                "SubnetId": subnet,
                "SecurityGroupIds": [group],
                **({"KeyName": key_name} if key_name else {}),
            }
        )

    # -- what to launch ---------------------------------------------------------------------------

    def _image(self) -> Mapping[str, Any]:
        name = self._questions.choose(
            "Which operating system?", "--operating-system", self._given.operating_system, _SYSTEMS
        )
        filters = {"name": name, "architecture": "x86_64", "root-device-type": "ebs"}
        found = self._ec2.describe_images(
            Owners=["amazon"],
            Filters=[{"Name": key, "Values": [value]} for key, value in filters.items()],
        )["Images"]
        if not found:
            raise UnavailableError(f"There is no image {name}.")
        newest: Mapping[str, Any] = max(found, key=lambda each: each["CreationDate"])
        return newest

    def _key_pair(self) -> str:
        wanted = self._given.key_name
        names = [each["KeyName"] for each in self._ec2.describe_key_pairs()["KeyPairs"]]
        if wanted is None and names:
            choices = [Choice(each, each, (each,)) for each in names]
            wanted = self._questions.choose("Which key pair?", "--key-name", None, choices)
        wanted = wanted or _KEY_NAME
        if wanted not in names:
            path = self._make_key(wanted)
            self._say(f" Made the key pair {wanted}; its private key is in {path}")
        self._say(f" Using the key pair {wanted}")
        return wanted

    def _make_key(self, name: str) -> Path:
        path = Path(f"{name}.pem").absolute()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigurationError(
                f"The key pair {name} is to be made, and {path} is there already.",
                next_step="Take that file away, or give another --key-name.",
            ) from None
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            try:
                file.write(self._ec2.create_key_pair(KeyName=name)["KeyMaterial"])
            except BaseException:
                path.unlink()
                raise
        return path

    def _accelerator_type(self) -> str:
        found = self._accelerators.describe_accelerator_types()["acceleratorTypes"]
        ordered = sorted(found, key=lambda each: not each["acceleratorTypeName"].startswith(_FIRST))
        choices = [_type_choice(each) for each in ordered]
        return self._questions.choose(
            "Which accelerator type?", "--accelerator-type", self._given.accelerator_type, choices
        )

    # -- where ------------------------------------------------------------------------------------

    def _network(self) -> str:
        found = self._ec2.describe_vpcs()["Vpcs"]
        if not found:
            raise UnavailableError(
                "There is no network.", next_step="aws ec2 create-vpc --cidr-block 10.0.0.0/16"
            )
        ordered = sorted(found, key=lambda each: not each["IsDefault"])
        choices = [_choice(each["VpcId"], each["CidrBlock"]) for each in ordered]
        return self._questions.choose("Which network?", "--vpc-id", self._given.vpc_id, choices)

    def _group(self, vpc: str) -> str:
        if self._given.security_group_id:
            return str(self._given.security_group_id)
        found = self._steps.groups(vpc)
        if not found:
            return self._steps.make_group(vpc)
        choices = [_choice(each["GroupId"], each["GroupName"]) for each in found]
        return self._questions.choose("Which security group?", "--security-group-id", None, choices)

    def _subnet(self, vpc: str, zones: Sequence[str]) -> str:
        found = self._ec2.describe_subnets(
            Filters=[
                {"Name": "vpc-id", "Values": [vpc]},
                {"Name": "availability-zone", "Values": list(zones)},
            ]
        )["Subnets"]
        usable = [each for each in found if each["State"] == "available"]
        if not usable:
            raise UnavailableError(
                f"The network {vpc} has no subnet in {', '.join(zones)}.",
                next_step=f"aws ec2 create-subnet --vpc-id {vpc} --cidr-block NETWORK",
            )
        choices = [_choice(each["SubnetId"], each["AvailabilityZone"]) for each in usable]
        return self._questions.choose(
            "Which subnet?", "--subnet-id", self._given.subnet_id, choices
        )

    # -- the launch -------------------------------------------------------------------------------

    def _confirm(self, image: Mapping[str, Any], key: str, type_: str, *rest: str) -> None:
        profile, group, subnet = rest
        self._questions.confirm(
            "\n What will be launched:\n"
            f"\n Accelerator type: {type_}"
            f"\n Region: {self._region}"
            f"\n Image: {image['ImageId']} ({image['Name']})"
            f"\n Instance type: {self._given.instance_type}"
            f"\n Key pair: {key}"
            f"\n Security group: {group}"
            f"\n Subnet: {subnet}"
            f"\n Instance profile: {profile}"
        )

    def _launch(self, wanted: Mapping[str, Any]) -> str:
        self._say("\n Launching the instance ...")
        answer = self._ec2.run_instances(MinCount=1, MaxCount=1, **wanted)
        instance = str(answer["Instances"][0]["InstanceId"])
        self._say(f"\n Launched instance successfully. The instance ID is '{instance}'.")
        self._say("\n Waiting for instance to reach running state ...")
        waiter = self._ec2.get_waiter("instance_running")
        waiter.wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 600})
        self._say(f"\n It runs. Check its setup:  EISetupValidator --instance-ids {instance}")
        self._say(f" Run a command there:       ei exec {instance} -- COMMAND")
        return instance


def _choice(value: str, text: str) -> Choice[str]:
    return Choice(value, f"{value} ({text})", (value,))


def _type_choice(type_: Mapping[str, Any]) -> Choice[str]:
    name, memory = type_["acceleratorTypeName"], type_["memoryInfo"]["sizeInMiB"]
    shown = f"{memory / 1024:g} GB of accelerator memory"
    # The first generation is eia too.
    return Choice(name, f"{name} ({shown})", (name, name.replace("eia1.", "eia.")))


if __name__ == "__main__":
    raise SystemExit(main())
