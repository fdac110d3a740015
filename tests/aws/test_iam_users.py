"""IAM's users and their keys."""

from __future__ import annotations

import pytest

from tests.aws.conftest import Aws
from tests.aws.iam import CONNECT, allow
from tests.aws.refusals import refused
from tests.aws.shapes import Clients, assert_shape_like_moto


def test_a_user_as_moto_shows_it(aws: Aws) -> None:
    def steps(clients: Clients) -> dict[str, object]:
        iam = clients("iam")
        iam.create_user(UserName="ann", Tags=[{"Key": "team", "Value": "vision"}])
        key = iam.create_access_key(UserName="ann")
        return {
            "user": iam.get_user(UserName="ann")["User"],
            "users": iam.list_users()["Users"],
            "tags": iam.list_user_tags(UserName="ann"),
            "key": key["AccessKey"],
            "keys": iam.list_access_keys(UserName="ann"),
        }

    assert_shape_like_moto(aws.client, steps)


def test_a_user_comes_and_goes(aws: Aws) -> None:
    iam = aws.client("iam")
    made = iam.create_user(UserName="ann", Path="/")["User"]
    assert made["Arn"] == f"arn:aws:iam::{aws.account}:user/ann"
    assert made["UserId"].startswith("AIDA")
    with refused("EntityAlreadyExists", "ann", status=409):
        iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="inside", PolicyDocument=CONNECT)
    iam.attach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    with refused("DeleteConflict", "access keys", status=409):
        iam.delete_user(UserName="ann")
    iam.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
    with refused("DeleteConflict", "detach", status=409):
        iam.delete_user(UserName="ann")
    iam.detach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    with refused("DeleteConflict", "delete policies", status=409):
        iam.delete_user(UserName="ann")
    iam.delete_user_policy(UserName="ann", PolicyName="inside")
    iam.delete_user(UserName="ann")
    assert iam.list_users()["Users"] == []
    with refused("NoSuchEntity", "ann", status=404):
        iam.get_user(UserName="ann")
    with refused("NoSuchEntity", status=404):
        iam.delete_user(UserName="ann")


def test_what_is_no_user(aws: Aws) -> None:
    iam = aws.client("iam")
    with refused("ValidationError", "a b"):
        iam.create_user(UserName="a b")
    with refused("UnsupportedOperation", "Path"):
        iam.create_user(UserName="ann", Path="/people/")
    with refused("UnsupportedOperation", "PermissionsBoundary"):
        iam.create_user(UserName="ann", PermissionsBoundary="arn:aws:iam::aws:policy/IAMFullAccess")
    with refused("InvalidAction", "CreateGroup"):
        iam.create_group(GroupName="all")
    assert iam.list_users()["Users"] == []


def test_users_in_pages_and_below_a_path(aws: Aws) -> None:
    iam = aws.client("iam")
    for name in "cab":
        iam.create_user(UserName=name)
    pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2}))
    assert [[each["UserName"] for each in page["Users"]] for page in pages] == [["a", "b"], ["c"]]
    assert [page["IsTruncated"] for page in pages] == [True, False]
    assert len(iam.list_users(PathPrefix="/")["Users"]) == 3
    assert iam.list_users(PathPrefix="/people/")["Users"] == []
    with refused("ValidationError"):
        iam.list_users(Marker="nonsense")


def test_tags(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="ann", Tags=[{"Key": "team", "Value": "vision"}])
    iam.tag_user(
        UserName="ann", Tags=[{"Key": "team", "Value": "speech"}, {"Key": "floor", "Value": "2"}]
    )
    tags = iam.list_user_tags(UserName="ann", MaxItems=1)
    assert tags["Tags"] == [{"Key": "floor", "Value": "2"}]
    rest = iam.list_user_tags(UserName="ann", Marker=tags["Marker"])
    assert rest["Tags"] == [{"Key": "team", "Value": "speech"}]
    iam.untag_user(UserName="ann", TagKeys=["team", "none"])
    assert iam.get_user(UserName="ann")["User"]["Tags"] == [{"Key": "floor", "Value": "2"}]


@pytest.mark.parametrize(
    ("tags", "code", "status"),
    [
        ([{"Key": "aws:mine", "Value": ""}], "InvalidInput", 400),
        ([{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}], "InvalidInput", 400),
        ([{"Key": f"k{n}", "Value": ""} for n in range(50)], "LimitExceeded", 409),
    ],
)
def test_tags_that_are_none_change_nothing(
    aws: Aws, tags: list[dict[str, str]], code: str, status: int
) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="ann", Tags=[{"Key": "team", "Value": "vision"}])
    with refused(code, status=status):
        iam.tag_user(UserName="ann", Tags=tags)
    assert iam.list_user_tags(UserName="ann")["Tags"] == [{"Key": "team", "Value": "vision"}]


def test_keys_of_users(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="ann")
    first = iam.create_access_key(UserName="ann")["AccessKey"]
    second = iam.create_access_key(UserName="ann")["AccessKey"]
    with refused("LimitExceeded", "AccessKeysPerUser", status=409):
        iam.create_access_key(UserName="ann")
    iam.update_access_key(UserName="ann", AccessKeyId=first["AccessKeyId"], Status="Inactive")
    found = iam.list_access_keys(UserName="ann")["AccessKeyMetadata"]
    assert {each["AccessKeyId"]: each["Status"] for each in found} == {
        first["AccessKeyId"]: "Inactive",
        second["AccessKeyId"]: "Active",
    }
    iam.delete_access_key(UserName="ann", AccessKeyId=first["AccessKeyId"])
    with refused("NoSuchEntity", first["AccessKeyId"], status=404):
        iam.delete_access_key(UserName="ann", AccessKeyId=first["AccessKeyId"])
    iam.create_user(UserName="bob")
    with refused("NoSuchEntity", status=404):
        iam.delete_access_key(UserName="bob", AccessKeyId=second["AccessKeyId"])


def test_a_key_that_is_disabled_or_gone_opens_nothing(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="ann")
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    key = aws.plane.store.keys.get(made["AccessKeyId"])
    sts = aws.client("sts", key)
    assert sts.get_caller_identity()["Arn"].endswith(":user/ann")
    iam.update_access_key(UserName="ann", AccessKeyId=made["AccessKeyId"], Status="Inactive")
    with refused("InvalidClientTokenId", status=403):
        sts.get_caller_identity()
    iam.delete_access_key(UserName="ann", AccessKeyId=made["AccessKeyId"])
    with refused("InvalidClientTokenId", status=403):
        sts.get_caller_identity()


def test_users_ask_for_themselves(aws: Aws) -> None:
    own = f"arn:aws:iam::{aws.account}:user/${{aws:username}}"
    key = aws.user("ann", allow("iam:GetUser", "iam:*AccessKey*", on=own))
    aws.user("bob")
    iam = aws.client("iam", key)
    assert iam.get_user()["User"]["UserName"] == "ann"
    assert iam.get_user(UserName="ann")["User"]["UserName"] == "ann"
    with refused("AccessDenied", "iam:GetUser", "user/bob", status=403):
        iam.get_user(UserName="bob")
    second = iam.create_access_key()["AccessKey"]
    assert len(iam.list_access_keys()["AccessKeyMetadata"]) == 2
    iam.update_access_key(AccessKeyId=second["AccessKeyId"], Status="Inactive")
    iam.delete_access_key(AccessKeyId=second["AccessKeyId"])


def test_the_owner_is_no_user(aws: Aws) -> None:
    iam = aws.client("iam")
    user = iam.get_user()["User"]
    assert (user["UserId"], user["Arn"]) == (aws.account, f"arn:aws:iam::{aws.account}:root")
    keys = iam.list_access_keys()["AccessKeyMetadata"]
    assert [each["AccessKeyId"] for each in keys] == [aws.owner.id]
    with refused("ValidationError", "userName"):
        iam.create_access_key()
    with refused("ValidationError", "userName"):
        iam.delete_access_key(AccessKeyId=aws.owner.id)


def test_users_are_in_no_groups(aws: Aws) -> None:
    """Terraform asks before it deletes a user."""
    iam = aws.client("iam")
    iam.create_user(UserName="ann")
    assert iam.list_groups()["Groups"] == []
    assert iam.list_groups_for_user(UserName="ann")["Groups"] == []
    with refused("NoSuchEntity", status=404):
        iam.list_groups_for_user(UserName="bob")
