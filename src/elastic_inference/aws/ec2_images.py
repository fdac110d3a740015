"""Images: the names that AWS's Deep Learning AMIs had, for what a pool's instances are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select, truth
from elastic_inference.aws.pages import page
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane

# Who owned AWS's Deep Learning AMIs, and what they called themselves.
_OWNER, _ALIAS = "898082745236", "amazon"
_MALFORMED = re.compile(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?")
_DESCRIPTION = (
    "An instance of an Elastic Inference pool. It has the system and the programs of the machine"
    " that it runs on; the name is for tools that look for it."
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image.

    Attributes:
        created: as AWS writes times.
    """

    name: str
    created: str
    root_device: str

    @property
    def id(self) -> str:
        return names.derived_id("ami", self.name)


IMAGES = (
    Image("Deep Learning AMI (Ubuntu 16.04) Version 36.0", "2020-10-29T00:00:00.000Z", "/dev/sda1"),
    Image("Deep Learning AMI (Ubuntu 18.04) Version 60.4", "2022-05-26T00:00:00.000Z", "/dev/sda1"),
    Image("Deep Learning AMI (Amazon Linux) Version 48.0", "2021-07-16T00:00:00.000Z", "/dev/xvda"),
    Image(
        "Deep Learning AMI (Amazon Linux 2) Version 61.3", "2022-05-26T00:00:00.000Z", "/dev/xvda"
    ),
)
_BY_ID = {each.id: each for each in IMAGES}
ROOT_DEVICES = {each.id: each.root_device for each in IMAGES}


def find(image_id: str) -> Image:
    """The image with that id.

    Raises:
        AwsError: there is none.
    """
    if not _MALFORMED.fullmatch(image_id):
        raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image_id[:64]}"')
    if image_id not in _BY_ID:
        raise AwsError(
            "InvalidAMIID.NotFound",
            f"The image id '[{image_id}]' does not exist. This pool has its own ids for the Deep"
            " Learning AMIs: aws ec2 describe-images --owners amazon shows them.",
        )
    return _BY_ID[image_id]


def image_arn(region: str, image_id: str) -> str:
    return f"arn:aws:ec2:{region}::image/{image_id}"


class Images:
    """DescribeImages."""

    def __init__(self, plane: ControlPlane) -> None:
        del plane
        self.operations: Operations = {
            "DescribeImages": operation(
                self._describe,
                "ImageIds Owners ExecutableUsers Filters MaxResults NextToken IncludeDeprecated"
                " IncludeDisabled",
            ),
        }

    def _describe(self, call: Call) -> Document:
        found = [find(each) for each in call.input["ImageIds"]] if call.input.get(
            "ImageIds"
        ) else list(IMAGES)  # fmt: skip
        owners = set(call.input.get("Owners", ()))
        if owners and not owners & {_ALIAS, _OWNER}:
            found = []
        users = set(call.input.get("ExecutableUsers", ()))
        if users and "all" not in users:
            found = []
        found = select(found, call, _FILTERS, lambda _: {})
        shown, more = page(found, call, lambda each: (each.created, each.id))
        return {"Images": [_describe_one(each) for each in shown], "NextToken": more}


def _describe_one(image: Image) -> Document:
    return {
        "Architecture": "x86_64",
        "BlockDeviceMappings": [],
        "CreationDate": image.created,
        "Description": _DESCRIPTION,
        "Hypervisor": "xen",
        "ImageId": image.id,
        "ImageLocation": f"{_ALIAS}/{image.name}",
        "ImageOwnerAlias": _ALIAS,
        "ImageType": "machine",
        "Name": image.name,
        "OwnerId": _OWNER,
        "PlatformDetails": "Linux/UNIX",
        "Public": True,
        "RootDeviceName": image.root_device,
        "RootDeviceType": "ebs",
        "State": "available",
        "UsageOperation": "RunInstances",
        "VirtualizationType": "hvm",
    }


_FILTERS: Mapping[str, Reader[Image]] = {
    "architecture": lambda _: "x86_64",
    "creation-date": lambda each: each.created,
    "description": lambda _: _DESCRIPTION,
    "ena-support": lambda _: truth(True),
    "hypervisor": lambda _: "xen",
    "image-id": lambda each: each.id,
    "image-type": lambda _: "machine",
    "is-public": lambda _: truth(True),
    "manifest-location": lambda each: f"{_ALIAS}/{each.name}",
    "name": lambda each: each.name,
    "owner-alias": lambda _: _ALIAS,
    "owner-id": lambda _: _OWNER,
    "platform": lambda _: None,
    "platform-details": lambda _: "Linux/UNIX",
    "root-device-name": lambda each: each.root_device,
    "root-device-type": lambda _: "ebs",
    "state": lambda _: "available",
    "virtualization-type": lambda _: "hvm",
}
