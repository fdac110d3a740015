"""AWS's own policies."""

from __future__ import annotations

import pytest

from elastic_inference.control import policy
from elastic_inference.control.managed_policies import (
    ManagedPolicy,
    managed,
    managed_policies,
)
from elastic_inference.control.policy import Request


@pytest.mark.parametrize("found", managed_policies().values(), ids=lambda found: found.name)
def test_each_is_a_policy(found: ManagedPolicy) -> None:
    assert policy.parse(found.document).statements
    assert found.id.startswith("ANPA")
    assert len(found.id) == 21
    assert managed(found.arn) is found


def test_no_two_have_one_id() -> None:
    found = managed_policies().values()
    assert len({each.id for each in found}) == len(found)


@pytest.mark.parametrize(
    ("name", "may", "may_not"),
    [
        ("AdministratorAccess", {"iam:CreateUser", "ec2:RunInstances"}, set()),
        ("PowerUserAccess", {"ec2:RunInstances", "iam:ListRoles"}, {"iam:CreateUser"}),
        (
            "ReadOnlyAccess",
            {"ec2:DescribeInstances", "iam:ListRoles", "elastic-inference:DescribeAccelerators"},
            {"ec2:RunInstances", "elastic-inference:Connect", "iam:PassRole"},
        ),
        ("AmazonEC2ReadOnlyAccess", {"ec2:DescribeInstances"}, {"ec2:RunInstances"}),
        ("IAMReadOnlyAccess", {"iam:GetRole"}, {"iam:CreateRole", "iam:PassRole"}),
        ("CloudWatchReadOnlyAccess", {"cloudwatch:GetMetricData"}, {"cloudwatch:PutMetricData"}),
    ],
)
def test_what_they_allow(name: str, may: set[str], may_not: set[str]) -> None:
    found = managed(f"arn:aws:iam::aws:policy/{name}")
    assert found is not None
    parsed = policy.parse(found.document)
    for action in may | may_not:
        request = Request("arn:aws:iam::000000000000:user/ann", action, "*")
        assert policy.evaluate([parsed], request).allowed is (action in may), action


def test_what_is_none_of_them() -> None:
    assert managed("arn:aws:iam::aws:policy/Nothing") is None
    assert managed("AdministratorAccess") is None
    assert managed("arn:aws:iam::000000000000:policy/AdministratorAccess") is None
