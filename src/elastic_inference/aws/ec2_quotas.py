"""How many things of EC2's an account may have: as many as AWS lets one have, or more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement

from elastic_inference.aws.errors import AwsError
from elastic_inference.control.tables import Records


@dataclass(frozen=True, slots=True)
class Quota:
    """A most; `code` is what AWS says beyond it."""

    most: int
    code: str
    what: str


KEY_PAIRS = Quota(5000, "KeyPairLimitExceeded", "key pairs")
TEMPLATES = Quota(5000, "MaxTemplateLimitExceeded", "launch templates")
VPCS = Quota(500, "VpcLimitExceeded", "VPCs")
SUBNETS = Quota(200, "SubnetLimitExceeded", "subnets in a VPC")
GROUPS = Quota(2500, "SecurityGroupLimitExceeded", "security groups")
ENDPOINTS = Quota(500, "VpcEndpointLimitExceeded", "VPC endpoints")


def check(
    table: Records[Any], account: str, quota: Quota, *conditions: ColumnElement[bool]
) -> None:
    """Refuse one more than there may be; in a transaction of the caller's.

    Raises:
        AwsError: there are as many.
    """
    if table.count(table.columns.account == account, *conditions) >= quota.most:
        raise AwsError(
            quota.code,
            f"The maximum number of {quota.what} has been reached: {quota.most}. Delete one that"
            " is not needed.",
        )
