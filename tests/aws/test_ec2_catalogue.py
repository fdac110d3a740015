"""Images, instance types, regions and zones by boto3."""

from __future__ import annotations

from typing import Any

from elastic_inference.instance_types import BUILTIN
from tests.aws.conftest import Aws
from tests.aws.refusals import refused
from tests.aws.shapes import assert_shape_like_moto


def test_the_images_that_the_originals_set_up_looks_for(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    for name in ("Deep Learning AMI (Ubuntu*", "Deep Learning AMI (Amazon Linux)*"):
        found = ec2.describe_images(
            Owners=["amazon"],
            Filters=[
                {"Name": "name", "Values": [name]},
                {"Name": "architecture", "Values": ["x86_64"]},
                {"Name": "root-device-type", "Values": ["ebs"]},
            ],
        )["Images"]
        assert found
        for each in found:
            assert each["CreationDate"].endswith(".000Z")
            assert each["ImageId"].startswith("ami-")
            assert each["State"] == "available"
            assert "pool" in each["Description"]


def test_images_by_id_owner_and_page(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    everything = ec2.describe_images()["Images"]
    first = everything[0]["ImageId"]
    assert [each["ImageId"] for each in ec2.describe_images(ImageIds=[first])["Images"]] == [first]
    assert ec2.describe_images(Owners=["898082745236"])["Images"] == everything
    assert ec2.describe_images(Owners=["self"])["Images"] == []
    assert ec2.describe_images(ExecutableUsers=["self"])["Images"] == []
    pages = ec2.get_paginator("describe_images").paginate(PaginationConfig={"PageSize": 1})
    assert [each["Images"][0] for each in pages] == everything
    with refused("InvalidAMIID.NotFound", "describe-images"):
        ec2.describe_images(ImageIds=["ami-0123456789abcdef0"])
    with refused("InvalidAMIID.Malformed"):
        ec2.describe_images(ImageIds=["ami-x"])
    with refused("InvalidParameterValue"):
        ec2.describe_images(Filters=[{"Name": "tag:a", "Values": ["b"]}, {"Name": "no"}])


def test_types_have_cores_and_memory(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    (found,) = ec2.describe_instance_types(InstanceTypes=["m5.xlarge"])["InstanceTypes"]
    assert found["VCpuInfo"] == {
        "DefaultVCpus": 4, "DefaultCores": 2, "DefaultThreadsPerCore": 2,
    }  # fmt: skip
    assert found["MemoryInfo"] == {"SizeInMiB": 16384}
    (gpu,) = ec2.describe_instance_types(InstanceTypes=["p3.2xlarge"])["InstanceTypes"]
    assert gpu["GpuInfo"]["Gpus"][0]["Name"] == "V100"
    assert (found["SupportedInRegion"], gpu["SupportedInRegion"]) == (True, False)
    pages = ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 10})
    names = [each["InstanceType"] for page in pages for each in page["InstanceTypes"]]
    assert names == sorted(each.name for each in BUILTIN)
    filters = [
        {"Name": "vcpu-info.default-vcpus", "Values": ["2"]},
        {"Name": "memory-info.size-in-mib", "Values": ["8192"]},
        {"Name": "current-generation", "Values": ["true"]},
    ]
    found = ec2.describe_instance_types(Filters=filters)["InstanceTypes"]
    assert [each["InstanceType"] for each in found] == ["m5.large", "t3.large"]
    with refused("InvalidInstanceType"):
        ec2.describe_instance_types(InstanceTypes=["x1.16xlarge"])


def test_types_have_what_instances_have(aws: Aws) -> None:
    """Terraform takes a type without these for none at all."""
    (found,) = aws.client("ec2").describe_instance_types(InstanceTypes=["m5.large"])[
        "InstanceTypes"
    ]
    assert found["NetworkInfo"]["MaximumNetworkInterfaces"] == 1
    assert found["EbsInfo"]["EbsOptimizedSupport"] == "unsupported"
    assert found["PlacementGroupInfo"] == {"SupportedStrategies": []}


def test_a_type_that_is_none_is_named(aws: Aws) -> None:
    with refused("InvalidInstanceType", "m5.huge"):
        aws.client("ec2").describe_instance_types(InstanceTypes=["m5.huge"])


def test_what_has_a_gpu_of_its_own_is_not_offered(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    for kind, location in (
        ("region", "us-east-1"),
        ("availability-zone", "us-east-1a"),
        ("availability-zone-id", "use1-az1"),
    ):
        found = ec2.describe_instance_type_offerings(LocationType=kind)["InstanceTypeOfferings"]
        assert {each["Location"] for each in found} == {location}
        names = {each["InstanceType"] for each in found}
        assert "m5.large" in names
        assert "p2.xlarge" not in names
    filters = [{"Name": "instance-type", "Values": ["c5.*"]}]
    found = ec2.describe_instance_type_offerings(Filters=filters)["InstanceTypeOfferings"]
    assert {each["InstanceType"].partition(".")[0] for each in found} == {"c5"}
    with refused("UnsupportedOperation"):
        ec2.describe_instance_type_offerings(LocationType="outpost")


def test_one_region_with_one_zone(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    (region,) = ec2.describe_regions()["Regions"]
    assert region["RegionName"] == "us-east-1"
    with refused("InvalidParameterValue"):
        ec2.describe_regions(RegionNames=["eu-west-1"])
    (zone,) = ec2.describe_availability_zones(ZoneNames=["us-east-1a"])["AvailabilityZones"]
    assert (zone["ZoneId"], zone["State"]) == ("use1-az1", "available")
    elsewhere = [{"Name": "zone-name", "Values": ["us-east-1b"]}]
    assert ec2.describe_availability_zones(Filters=elsewhere)["AvailabilityZones"] == []
    with refused("InvalidParameterValue"):
        ec2.describe_availability_zones(ZoneIds=["use1-az2"])


def test_the_account_has_a_default_vpc(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    found = {
        each["AttributeName"]: each["AttributeValues"][0]["AttributeValue"]
        for each in ec2.describe_account_attributes()["AccountAttributes"]
    }
    assert found == {"supported-platforms": "VPC", "default-vpc": vpc["VpcId"]}
    (one,) = ec2.describe_account_attributes(AttributeNames=["default-vpc"])["AccountAttributes"]
    assert one["AttributeName"] == "default-vpc"


def test_the_answers_are_where_moto_has_them(aws: Aws) -> None:
    def steps(clients: Any) -> Any:
        ec2 = clients("ec2")
        return {
            "Images": ec2.describe_images(Owners=["amazon"])["Images"],
            "Offerings": ec2.describe_instance_type_offerings()["InstanceTypeOfferings"],
            "Regions": ec2.describe_regions()["Regions"],
            "Zones": ec2.describe_availability_zones()["AvailabilityZones"],
            "Types": ec2.describe_instance_types(InstanceTypes=["m5.large"])["InstanceTypes"],
        }

    machine = "an instance has what its machine has"
    assert_shape_like_moto(
        aws.client,
        steps,
        {
            "Images.BlockDeviceMappings": "an instance has a directory, no volumes",
            "Images.BootMode": "an instance does not boot",
            "Images.KernelId": machine,
            "Images.Platform": "it is no Windows",
            "Images.ProductCodes": "nothing is sold",
            "Images.RamdiskId": machine,
            "Images.SriovNetSupport": "there is no network card",
            "Types.ProcessorInfo.SustainedClockSpeedInGhz": machine,
            "Types.ProcessorInfo.Manufacturer": machine,
            "Types.ProcessorInfo.SupportedFeatures": machine,
            "Types.VCpuInfo.ValidCores": "they cannot be chosen",
            "Types.VCpuInfo.ValidThreadsPerCore": "they cannot be chosen",
            "Types.EbsInfo": "there are no volumes",
            "Types.NetworkInfo": machine,
            "Types.PlacementGroupInfo": "there are no placement groups",
            "Types.SupportedBootModes": "an instance does not boot",
            "Types.NitroEnclavesSupport": "there are no enclaves",
            "Types.NitroTpmInfo": "there is no TPM",
            "Types.NitroTpmSupport": "there is no TPM",
            "Types.PhcSupport": machine,
            "Types.RebootMigrationSupport": "instances are where their pool is",
        },
    )
