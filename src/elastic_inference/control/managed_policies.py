"""Policies of AWS's own that every account has, as far as they speak of what a pool does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from elastic_inference.control import names

_HEAD = f"arn:{names.PARTITION}:iam::aws:policy/"
_FEBRUARY_2015 = 1423161600.0
_JANUARY_2017 = 1484179200.0


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A policy that nobody changes.

    Attributes:
        id: as IAM has them, the same in every pool.
        created_at: when AWS made it, to the day.
    """

    name: str
    id: str
    document: str
    created_at: float

    @property
    def arn(self) -> str:
        return _HEAD + self.name


def managed(arn: str) -> ManagedPolicy | None:
    """The policy with that ARN; None where there is none."""
    return managed_policies().get(arn)


@cache
def managed_policies() -> Mapping[str, ManagedPolicy]:
    """All of them, by their ARNs."""
    made = [
        ManagedPolicy(name, _id(name), _document(statements), created)
        for name, created, statements in _POLICIES
    ]
    return {each.arn: each for each in made}


def _id(name: str) -> str:
    letters = "".join(each for each in name.upper() if each.isalpha())
    return "ANPA" + (letters + "A" * 17)[:17]


def _document(statements: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _allow(*actions: str) -> Mapping[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


_POLICIES: Sequence[tuple[str, float, Sequence[Mapping[str, Any]]]] = (
    ("AdministratorAccess", _FEBRUARY_2015, [_allow("*")]),
    (
        "PowerUserAccess",
        _FEBRUARY_2015,
        [{"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}, _allow("iam:ListRoles")],
    ),
    (
        "ReadOnlyAccess",
        _FEBRUARY_2015,
        [
            _allow(
                "autoscaling:Describe*",
                "cloudwatch:Describe*",
                "cloudwatch:Get*",
                "cloudwatch:List*",
                "ec2:Describe*",
                "ec2:Get*",
                "elastic-inference:Describe*",
                "elastic-inference:ListTagsForResource",
                "iam:Get*",
                "iam:List*",
                "iam:Simulate*",
                "sns:Get*",
                "sns:List*",
                "sts:GetCallerIdentity",
            )
        ],
    ),
    ("AmazonEC2FullAccess", _FEBRUARY_2015, [_allow("ec2:*", "cloudwatch:*", "autoscaling:*")]),
    (
        "AmazonEC2ReadOnlyAccess",
        _FEBRUARY_2015,
        [
            _allow(
                "ec2:Describe*",
                "cloudwatch:ListMetrics",
                "cloudwatch:GetMetricStatistics",
                "cloudwatch:Describe*",
                "autoscaling:Describe*",
            )
        ],
    ),
    ("IAMFullAccess", _FEBRUARY_2015, [_allow("iam:*")]),
    (
        "IAMReadOnlyAccess",
        _FEBRUARY_2015,
        [
            _allow(
                "iam:Get*", "iam:List*", "iam:SimulateCustomPolicy", "iam:SimulatePrincipalPolicy"
            )
        ],
    ),
    (
        "CloudWatchFullAccess",
        _FEBRUARY_2015,
        [
            _allow(
                "autoscaling:Describe*",
                "cloudwatch:*",
                "iam:GetPolicy",
                "iam:GetPolicyVersion",
                "iam:GetRole",
            )
        ],
    ),
    (
        "CloudWatchReadOnlyAccess",
        _FEBRUARY_2015,
        [
            _allow(
                "autoscaling:Describe*",
                "cloudwatch:Describe*",
                "cloudwatch:Get*",
                "cloudwatch:List*",
            )
        ],
    ),
    (
        "AutoScalingFullAccess",
        _JANUARY_2017,
        [
            _allow(
                "autoscaling:*",
                "cloudwatch:PutMetricAlarm",
                "ec2:DescribeAccountAttributes",
                "ec2:DescribeAvailabilityZones",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceAttribute",
                "ec2:DescribeInstances",
                "ec2:DescribeKeyPairs",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
            )
        ],
    ),
    ("AutoScalingReadOnlyAccess", _JANUARY_2017, [_allow("autoscaling:Describe*")]),
)
