"""Credentials for a time."""

from __future__ import annotations

import datetime as dt
from typing import Any

from elastic_inference.control.records import AccessKey
from tests.aws.conftest import Aws
from tests.aws.iam import EC2, allow, deny, document, trust
from tests.aws.refusals import refused
from tests.aws.shapes import Clients, assert_shape_like_moto


def _root(aws: Aws) -> dict[str, str]:
    return {"AWS": f"arn:aws:iam::{aws.account}:root"}


def _role(aws: Aws, trusting: str, name: str = "reader", **more: Any) -> str:
    arn = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trusting, **more)[
        "Role"
    ]["Arn"]
    return str(arn)


def _key(aws: Aws, answer: dict[str, Any]) -> AccessKey:
    """The credentials of an answer, as they would be used."""
    given = answer["Credentials"]
    return AccessKey(
        id=given["AccessKeyId"],
        secret=given["SecretAccessKey"],
        session_token=given["SessionToken"],
        account=aws.account,
    )


def test_answers_as_moto_has_them(aws: Aws) -> None:
    def steps(clients: Clients) -> dict[str, Any]:
        sts, iam = clients("sts"), clients("iam")
        account = sts.get_caller_identity()["Account"]
        role = iam.create_role(
            RoleName="reader",
            AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{account}:root"}),
        )["Role"]
        return {
            # moto's caller is a user, and the pool's is the owner.
            "identity": {**sts.get_caller_identity(), "Arn": None},
            "role": sts.assume_role(RoleArn=role["Arn"], RoleSessionName="mine"),
            "token": sts.get_session_token(),
        }

    assert_shape_like_moto(
        aws.client,
        steps,
        {"role.PackedPolicySize": "a session has no policy of its own here"},
    )


def test_a_role_that_is_taken(aws: Aws) -> None:
    arn = _role(aws, trust(_root(aws)))
    iam = aws.client("iam")
    iam.put_role_policy(
        RoleName="reader", PolicyName="may", PolicyDocument=document(allow("iam:List*"))
    )
    answer = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="a-session")
    left = answer["Credentials"]["Expiration"] - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=55) < left <= dt.timedelta(hours=1)
    key = _key(aws, answer)
    who = aws.client("sts", key).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{aws.account}:assumed-role/reader/a-session"
    assert who["Arn"] == answer["AssumedRoleUser"]["Arn"]
    assert who["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]
    assert who["UserId"].startswith("AROA")
    assert aws.client("iam", key).list_roles()["Roles"]
    with refused("AccessDenied", "iam:GetRole", status=403):
        aws.client("iam", key).get_role(RoleName="reader")
    # With the role its sessions end.
    iam.delete_role_policy(RoleName="reader", PolicyName="may")
    iam.delete_role(RoleName="reader")
    with refused("InvalidClientTokenId", status=403):
        aws.client("sts", key).get_caller_identity()


def test_who_is_not_trusted(aws: Aws) -> None:
    arn = _role(aws, trust())
    everything = aws.user("admin", allow("*"))
    for key in (None, everything):
        with refused("AccessDenied", "sts:AssumeRole", "trust policy", status=403):
            aws.client("sts", key).assume_role(RoleArn=arn, RoleSessionName="mine")
    for missing in (
        f"arn:aws:iam::{aws.account}:role/none",
        "arn:aws:iam::123456789012:role/reader",
        f"arn:aws:iam::{aws.account}:user/admin",
    ):
        with refused("AccessDenied", missing, status=403):
            aws.client("sts").assume_role(RoleArn=missing, RoleSessionName="mine")


def test_an_account_that_is_trusted_lets_its_users_by_policy(aws: Aws) -> None:
    arn = _role(aws, trust(_root(aws)))
    nobody, other = aws.user("nobody"), aws.user("other", allow("sts:AssumeRole", on=f"{arn}-not"))
    for key in (nobody, other):
        with refused("AccessDenied", "no policy", status=403):
            aws.client("sts", key).assume_role(RoleArn=arn, RoleSessionName="mine")
    ann = aws.user("ann", allow("sts:AssumeRole", on=arn))
    assert aws.client("sts", ann).assume_role(RoleArn=arn, RoleSessionName="mine")["Credentials"]


def test_who_is_trusted_by_name_needs_no_policy(aws: Aws) -> None:
    ann, bob = aws.user("ann"), aws.user("bob", deny("sts:*"))
    arn = _role(
        aws, trust({"AWS": [f"arn:aws:iam::{aws.account}:user/{each}" for each in ("ann", "bob")]})
    )
    assert aws.client("sts", ann).assume_role(RoleArn=arn, RoleSessionName="mine")["Credentials"]
    with refused("AccessDenied", status=403):
        aws.client("sts", bob).assume_role(RoleArn=arn, RoleSessionName="mine")


def test_conditions_of_trust(aws: Aws) -> None:
    when = {"StringEquals": {"sts:ExternalId": "secret", "sts:RoleSessionName": "mine"}}
    arn = _role(aws, trust(_root(aws), when))
    sts = aws.client("sts")
    asked = {"RoleArn": arn, "RoleSessionName": "mine"}
    assert sts.assume_role(**asked, ExternalId="secret")["Credentials"]
    for wrong in (asked, {**asked, "ExternalId": "guess"}):
        with refused("AccessDenied", "trust policy", status=403):
            sts.assume_role(**wrong)
    with refused("AccessDenied", "trust policy", status=403):
        sts.assume_role(RoleArn=arn, RoleSessionName="other", ExternalId="secret")


def test_trust_by_tags(aws: Aws) -> None:
    when = {"StringEquals": {"aws:PrincipalTag/team": "vision"}}
    arn = _role(aws, trust(_root(aws), when))
    ann = aws.user("ann", allow("sts:AssumeRole"))
    sts = aws.client("sts", ann)
    with refused("AccessDenied", status=403):
        sts.assume_role(RoleArn=arn, RoleSessionName="mine")
    aws.client("iam").tag_user(UserName="ann", Tags=[{"Key": "team", "Value": "vision"}])
    assert sts.assume_role(RoleArn=arn, RoleSessionName="mine")["Credentials"]


def test_how_long_a_role_is_had(aws: Aws) -> None:
    arn = _role(aws, trust(_root(aws)), MaxSessionDuration=7200)
    sts = aws.client("sts")
    answer = sts.assume_role(RoleArn=arn, RoleSessionName="mine", DurationSeconds=7200)
    left = answer["Credentials"]["Expiration"] - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=115) < left <= dt.timedelta(hours=2)
    unchecked = aws.client("sts", parameter_validation=False)
    for seconds, words in ((7201, "MaxSessionDuration"), (899, "900"), (43201, "43200")):
        with refused("ValidationError", words):
            unchecked.assume_role(RoleArn=arn, RoleSessionName="mine", DurationSeconds=seconds)
    with refused("ValidationError", "RoleSessionName"):
        sts.assume_role(RoleArn=arn, RoleSessionName="a session")
    aws.client("iam").put_role_policy(
        RoleName="reader", PolicyName="may", PolicyDocument=document(allow("sts:AssumeRole"))
    )
    chained = aws.client("sts", _key(aws, answer))
    assert chained.assume_role(RoleArn=arn, RoleSessionName="again")["Credentials"]
    with refused("ValidationError", "role chaining"):
        chained.assume_role(RoleArn=arn, RoleSessionName="again", DurationSeconds=3601)


def test_what_narrows_a_session_is_refused(aws: Aws) -> None:
    arn = _role(aws, trust(_root(aws)))
    for name, value in (
        ("Policy", document(allow("iam:List*"))),
        ("Tags", [{"Key": "a", "Value": "b"}]),
        ("SourceIdentity", "ann"),
    ):
        with refused("UnsupportedOperation", name):
            aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="mine", **{name: value})


def test_a_users_own_credentials_for_a_time(aws: Aws) -> None:
    ann = aws.user("ann", allow("*"))
    answer = aws.client("sts", ann).get_session_token(DurationSeconds=900)
    key = _key(aws, answer)
    sts = aws.client("sts", key)
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{aws.account}:user/ann"
    arn = _role(aws, trust(_root(aws)))
    assert sts.assume_role(RoleArn=arn, RoleSessionName="mine")["Credentials"]
    # As in AWS: IAM and further credentials are for lasting keys.
    with refused("AccessDenied", "GetSessionToken", status=403):
        aws.client("iam", key).list_roles()
    with refused("AccessDenied", "session credentials", status=403):
        sts.get_session_token()
    # They are no keys of the user's own.
    found = aws.client("iam").list_access_keys(UserName="ann")["AccessKeyMetadata"]
    assert [each["AccessKeyId"] for each in found] == [ann.id]
    aws.client("iam").create_access_key(UserName="ann")


def test_the_owners_credentials_for_a_time(aws: Aws) -> None:
    answer = aws.client("sts").get_session_token(DurationSeconds=129600)
    left = answer["Credentials"]["Expiration"] - dt.datetime.now(dt.UTC)
    assert left <= dt.timedelta(hours=1)
    key = _key(aws, answer)
    assert aws.client("sts", key).get_caller_identity()["Arn"].endswith(":root")
    with refused("AccessDenied", status=403):
        aws.client("iam", key).list_roles()
    # It is not taken for the owner's own.
    assert aws.plane.store.owner_key() == aws.owner
    keys = aws.client("iam").list_access_keys()["AccessKeyMetadata"]
    assert [each["AccessKeyId"] for each in keys] == [aws.owner.id]


def test_a_token_that_is_another_or_missing(aws: Aws) -> None:
    arn = _role(aws, trust(_root(aws)))
    answer = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="mine")
    given = answer["Credentials"]
    for token in (None, given["SessionToken"][:-1]):
        key = AccessKey(
            id=given["AccessKeyId"], secret=given["SecretAccessKey"], session_token=token
        )
        with refused("InvalidClientTokenId", status=403):
            aws.client("sts", key).get_caller_identity()


def test_instances_have_what_trusts_them_alone(aws: Aws) -> None:
    for name, principal in (("for-instances", EC2), ("for-people", _root(aws))):
        _role(aws, trust(principal), name)
    access, store = aws.plane.access, aws.plane.store
    trusting = {
        name: access.trusts_instances(role)
        for name in ("for-instances", "for-people", "elastic-inference")
        if (role := store.roles.get(aws.account, name))
    }
    assert trusting == {"for-instances": True, "for-people": False, "elastic-inference": True}
