"""What the comparison with moto finds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.aws.shapes import Clients, assert_shape_like_moto, differences, moto


def test_moto_beside_itself_is_the_same() -> None:
    def vpcs(clients: Clients) -> Any:
        return clients("ec2").describe_vpcs()

    with moto() as clients:
        own = vpcs(clients)
    assert own["Vpcs"]
    assert_shape_like_moto(lambda _: _Given(own), lambda clients: clients("ec2").describe_vpcs())


class _Given:
    """A client that answers what it is given."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def describe_vpcs(self) -> Any:
        return self._answer


VPC = {"VpcId": "vpc-0123456789abcdef0", "CidrBlock": "10.0.0.0/16", "IsDefault": True}


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16"}, "Vpcs.IsDefault: moto gives a flag"),
        (VPC | {"IsDefault": "true"}, "moto gives a flag, the pool a text"),
        (VPC | {"VpcId": "i-0123456789abcdef0"}, "moto gives an id vpc-…, the pool an id i-…"),
        (VPC | {"CidrBlock": "10.0.0.0"}, "moto gives a network, the pool an address"),
    ],
)
def test_what_differs_is_told(own: dict[str, Any], says: str) -> None:
    found = differences({"Vpcs": [own]}, {"Vpcs": [VPC]}, {})
    assert any(says in each for each in found), found


def test_what_lacks_is_listed_and_nothing_else_is() -> None:
    theirs = {"Vpcs": [{**VPC, "Tags": [{"Key": "a"}], "Owner": {"Id": "1"}}]}
    lacks = {"Vpcs.Owner": "nobody else owns one", "Vpcs.Tags.Key": "none here"}
    assert differences({"Vpcs": [VPC]}, theirs, lacks) == []
    assert differences({"Vpcs": [{**VPC, "Tags": [{"Key": "b"}]}]}, theirs, lacks) == [
        "Vpcs.Tags.Key: it is answered, and yet among what lacks"
    ]


def test_what_only_one_item_has_counts() -> None:
    assert differences({"Vpcs": [VPC, {}]}, {"Vpcs": [{}, VPC]}, {}) == []
    assert differences({"Vpcs": [], "ResponseMetadata": {}}, {"NextToken": None}, {}) == []
