"""All of an account's IAM at once, and what somebody might do."""

from __future__ import annotations

import json
from typing import Any

from tests.aws.conftest import Aws
from tests.aws.iam import CONNECT, allow, deny, document, trust
from tests.aws.refusals import refused
from tests.aws.shapes import Clients, assert_shape_like_moto


def _furnish(iam: Any) -> None:
    policy = iam.create_policy(
        PolicyName="connect", PolicyDocument=CONNECT, Description="Lets in."
    )["Policy"]["Arn"]
    iam.create_user(UserName="ann", Tags=[{"Key": "team", "Value": "vision"}])
    iam.put_user_policy(UserName="ann", PolicyName="inside", PolicyDocument=CONNECT)
    iam.attach_user_policy(UserName="ann", PolicyArn=policy)
    iam.create_role(
        RoleName="reader",
        AssumeRolePolicyDocument=trust(),
        Tags=[{"Key": "team", "Value": "vision"}],
    )
    iam.put_role_policy(RoleName="reader", PolicyName="inside", PolicyDocument=CONNECT)
    iam.attach_role_policy(RoleName="reader", PolicyArn=policy)
    iam.create_instance_profile(InstanceProfileName="mine")
    iam.add_role_to_instance_profile(InstanceProfileName="mine", RoleName="reader")


def test_everything_as_moto_shows_it(aws: Aws) -> None:
    def steps(clients: Clients) -> Any:
        iam = clients("iam")
        _furnish(iam)
        return iam.get_account_authorization_details(
            Filter=["User", "Role", "LocalManagedPolicy", "Group"]
        )

    assert_shape_like_moto(
        aws.client,
        steps,
        {
            "RoleDetailList.RoleLastUsed": "a pool does not note when roles are used",
            "RoleDetailList.InstanceProfileList.Roles.Tags": "AWS gives a role's own alone",
        },
    )


def test_everything_in_pages(aws: Aws) -> None:
    iam = aws.client("iam")
    _furnish(iam)
    iam.attach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/IAMFullAccess")
    found: list[tuple[str, str]] = []
    pages = iam.get_paginator("get_account_authorization_details").paginate(
        PaginationConfig={"PageSize": 2}
    )
    for page in pages:
        shown = [
            *(("user", each["UserName"]) for each in page["UserDetailList"]),
            *(("role", each["RoleName"]) for each in page["RoleDetailList"]),
            *(("policy", each["PolicyName"]) for each in page["Policies"]),
        ]
        assert len(shown) <= 2
        found += shown
    assert found == [
        ("user", "ann"),
        ("role", "elastic-inference"),
        ("role", "reader"),
        ("policy", "ElasticInferenceDefault"),
        ("policy", "connect"),
        ("policy", "IAMFullAccess"),
    ]


def test_what_is_asked_for_alone(aws: Aws) -> None:
    iam = aws.client("iam")
    _furnish(iam)
    only = iam.get_account_authorization_details(Filter=["LocalManagedPolicy"])
    assert (only["UserDetailList"], only["RoleDetailList"]) == ([], [])
    versions = {each["PolicyName"]: each["PolicyVersionList"] for each in only["Policies"]}
    assert versions["connect"][0]["Document"] == json.loads(CONNECT)
    assert versions["connect"][0]["IsDefaultVersion"] is True
    with refused("ValidationError", "nonsense"):
        iam.get_account_authorization_details(Filter=["nonsense"])


# -- simulation -----------------------------------------------------------------------------------


def test_what_a_role_may_do(aws: Aws) -> None:
    iam = aws.client("iam")
    _furnish(iam)
    accelerator = f"arn:aws:elastic-inference:us-east-1:{aws.account}:accelerator/eia-1"
    asked = {
        "PolicySourceArn": f"arn:aws:iam::{aws.account}:role/reader",
        "ActionNames": ["elastic-inference:Connect", "ec2:RunInstances"],
        "ResourceArns": [accelerator, "*"],
    }
    results = iam.simulate_principal_policy(**asked)["EvaluationResults"]
    assert [
        (each["EvalActionName"], each["EvalResourceName"], each["EvalDecision"]) for each in results
    ] == [
        ("elastic-inference:Connect", accelerator, "allowed"),
        ("elastic-inference:Connect", "*", "allowed"),
        ("ec2:RunInstances", accelerator, "implicitDeny"),
        ("ec2:RunInstances", "*", "implicitDeny"),
    ]
    matched = results[0]["MatchedStatements"]
    assert {each["SourcePolicyId"] for each in matched} == {"connect", "role_reader_inside"}
    assert results[2]["MatchedStatements"] == []
    iam.put_role_policy(
        RoleName="reader",
        PolicyName="not",
        PolicyDocument=document(deny("elastic-inference:*", on=accelerator)),
    )
    results = iam.simulate_principal_policy(**asked)["EvaluationResults"]
    assert [each["EvalDecision"] for each in results[:2]] == ["explicitDeny", "allowed"]
    (decisive,) = results[0]["MatchedStatements"]
    assert (decisive["SourcePolicyId"], decisive["SourcePolicyType"]) == ("role_reader_not", "role")
    pages = iam.get_paginator("simulate_principal_policy").paginate(
        **asked, PaginationConfig={"PageSize": 3}
    )
    assert [len(page["EvaluationResults"]) for page in pages] == [3, 1]


def test_what_stands_where_and_what_is_missing(aws: Aws) -> None:
    text = """{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "ec2:*", "Resource": "*",
     "Condition": {"StringEquals": {"aws:RequestTag/Team": "vision"}}}
  ]
}"""
    iam = aws.client("iam")
    asked: dict[str, Any] = {"PolicyInputList": [text], "ActionNames": ["ec2:RunInstances"]}
    (result,) = iam.simulate_custom_policy(**asked)["EvaluationResults"]
    assert result["EvalDecision"] == "implicitDeny"
    assert result["MissingContextValues"] == ["aws:RequestTag/Team"]
    context = {
        "ContextKeyName": "aws:RequestTag/Team",
        "ContextKeyValues": ["vision"],
        "ContextKeyType": "string",
    }
    (result,) = iam.simulate_custom_policy(**asked, ContextEntries=[context])["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])
    (statement,) = result["MatchedStatements"]
    assert statement["StartPosition"] == {"Line": 4, "Column": 5}
    assert statement["EndPosition"] == {"Line": 5, "Column": 71}
    keys = iam.get_context_keys_for_custom_policy(PolicyInputList=[text])["ContextKeyNames"]
    assert keys == ["aws:RequestTag/Team"]
    iam.create_user(UserName="ann")
    keys = iam.get_context_keys_for_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{aws.account}:user/ann", PolicyInputList=[text]
    )["ContextKeyNames"]
    assert keys == ["aws:RequestTag/Team"]


def test_what_cannot_be_simulated(aws: Aws) -> None:
    iam = aws.client("iam")
    own = f"arn:aws:iam::{aws.account}:user/ann"
    with refused("NoSuchEntity", "ann", status=404):
        iam.simulate_principal_policy(PolicySourceArn=own, ActionNames=["ec2:RunInstances"])
    iam.create_user(UserName="ann")
    with refused("InvalidInput", "Invalid Action"):
        iam.simulate_principal_policy(PolicySourceArn=own, ActionNames=["everything"])
    with refused("InvalidInput", "no ARN"):
        iam.simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:user/ann", ActionNames=["ec2:RunInstances"]
        )
    with refused("MalformedPolicyDocument"):
        iam.simulate_custom_policy(PolicyInputList=["{}"], ActionNames=["ec2:RunInstances"])
    with refused("UnsupportedOperation", "ResourcePolicy"):
        iam.simulate_principal_policy(
            PolicySourceArn=own,
            ActionNames=["ec2:RunInstances"],
            ResourcePolicy=document(allow("ec2:RunInstances")),
        )
