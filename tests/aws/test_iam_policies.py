"""IAM's policies and their versions."""

from __future__ import annotations

import json
from typing import Any

from tests.aws.conftest import Aws
from tests.aws.iam import CONNECT, allow, document, trust
from tests.aws.refusals import refused
from tests.aws.shapes import Clients, assert_shape_like_moto

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
OTHER = document(allow("ec2:Describe*"))


def test_a_policy_as_moto_shows_it(aws: Aws) -> None:
    def steps(clients: Clients) -> dict[str, Any]:
        iam = clients("iam")
        made = iam.create_policy(
            PolicyName="connect",
            PolicyDocument=CONNECT,
            Description="Lets in.",
            Tags=[{"Key": "team", "Value": "vision"}],
        )["Policy"]
        arn = made["Arn"]
        iam.create_user(UserName="ann")
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust())
        iam.attach_user_policy(UserName="ann", PolicyArn=arn)
        iam.attach_role_policy(RoleName="reader", PolicyArn=arn)
        version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=OTHER, SetAsDefault=True)
        return {
            "made": made,
            "policy": iam.get_policy(PolicyArn=arn)["Policy"],
            "policies": iam.list_policies(Scope="Local", OnlyAttached=True),
            "version": version,
            "versions": iam.list_policy_versions(PolicyArn=arn),
            "one": iam.get_policy_version(PolicyArn=arn, VersionId="v1"),
            "tags": iam.list_policy_tags(PolicyArn=arn),
            "entities": iam.list_entities_for_policy(PolicyArn=arn),
        }

    assert_shape_like_moto(
        aws.client,
        steps,
        {
            "policies.Policies.Tags": "AWS's lists have no tags",
            "policies.Policies.Description": "AWS's lists have none",
            "version.PolicyVersion.Document": "AWS does not repeat it",
            "versions.Versions.Document": "AWS's lists have none",
        },
    )


def test_a_policy_and_its_versions(aws: Aws) -> None:
    iam = aws.client("iam")
    arn = iam.create_policy(PolicyName="connect", PolicyDocument=CONNECT)["Policy"]["Arn"]
    assert arn == f"arn:aws:iam::{aws.account}:policy/connect"
    with refused("EntityAlreadyExists", "connect", status=409):
        iam.create_policy(PolicyName="connect", PolicyDocument=CONNECT)
    second = iam.create_policy_version(PolicyArn=arn, PolicyDocument=OTHER)["PolicyVersion"]
    assert (second["VersionId"], second["IsDefaultVersion"]) == ("v2", False)
    assert _document(iam, arn, "v1") == json.loads(CONNECT)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    assert [_document(iam, arn, each) for each in ("v1", "v2")] == [
        json.loads(CONNECT),
        json.loads(OTHER),
    ]
    with refused("DeleteConflict", "default version", status=409):
        iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    with refused("DeleteConflict", "more than one version", status=409):
        iam.delete_policy(PolicyArn=arn)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    with refused("NoSuchEntity", "v1", status=404):
        iam.get_policy_version(PolicyArn=arn, VersionId="v1")
    with refused("NoSuchEntity", "v9", status=404):
        iam.set_default_policy_version(PolicyArn=arn, VersionId="v9")
    with refused("ValidationError", "nonsense"):
        iam.delete_policy_version(PolicyArn=arn, VersionId="nonsense")
    third = iam.create_policy_version(PolicyArn=arn, PolicyDocument=CONNECT)["PolicyVersion"]
    assert third["VersionId"] == "v3"
    iam.delete_policy_version(PolicyArn=arn, VersionId="v3")
    iam.delete_policy(PolicyArn=arn)
    with refused("NoSuchEntity", arn, status=404):
        iam.get_policy(PolicyArn=arn)


def _document(iam: Any, arn: str, version: str) -> Any:
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def test_no_more_versions_than_may_be(aws: Aws) -> None:
    iam = aws.client("iam")
    arn = iam.create_policy(PolicyName="connect", PolicyDocument=CONNECT)["Policy"]["Arn"]
    for _ in range(4):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=OTHER)
    with refused("LimitExceeded", "5 versions", status=409):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=OTHER)
    pages = list(
        iam.get_paginator("list_policy_versions").paginate(
            PolicyArn=arn, PaginationConfig={"PageSize": 3}
        )
    )
    numbers = [[each["VersionId"] for each in page["Versions"]] for page in pages]
    assert numbers == [["v5", "v4", "v3"], ["v2", "v1"]]


def test_the_command_line_makes_versions_too(aws: Aws) -> None:
    from elastic_inference.control.identities import Identities

    plane, iam = aws.plane, aws.client("iam")
    identities = Identities(plane.store, plane.access, plane.clock)
    for number in range(7):
        identities.put_policy(aws.account, "connect", document(allow(f"ec2:DescribeThing{number}")))
    arn = f"arn:aws:iam::{aws.account}:policy/connect"
    found = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [each["VersionId"] for each in found] == ["v7", "v6", "v5", "v4", "v3"]
    assert [each["IsDefaultVersion"] for each in found] == [True, *[False] * 4]
    assert "Thing6" in str(_document(iam, arn, "v7"))
    assert "Thing5" in str(_document(iam, arn, "v6"))
    identities.delete_policy(aws.account, "connect")
    assert plane.store.policy_versions.where() == []


def test_what_is_no_policy(aws: Aws) -> None:
    iam = aws.client("iam")
    before = iam.list_policies(Scope="Local")["Policies"]
    for text in ("{", "[]", "{}", '{"Statement": []}', document(allow("everything"))):
        with refused("MalformedPolicyDocument"):
            iam.create_policy(PolicyName="connect", PolicyDocument=text)
    with refused("MalformedPolicyDocument", "10240"):
        iam.create_policy(PolicyName="connect", PolicyDocument=CONNECT + " " * 20_000)
    with refused("ValidationError", "a b"):
        iam.create_policy(PolicyName="a b", PolicyDocument=CONNECT)
    with refused("UnsupportedOperation", "Path"):
        iam.create_policy(PolicyName="connect", PolicyDocument=CONNECT, Path="/a/")
    assert iam.list_policies(Scope="Local")["Policies"] == before
    for arn in ("arn:aws:iam::123456789012:policy/connect", "arn:aws:s3:::a-bucket-of-mine"):
        with refused("NoSuchEntity", arn, status=404):
            iam.get_policy(PolicyArn=arn)


def test_policies_of_aws_are_there_and_nobody_changes_them(aws: Aws) -> None:
    iam = aws.client("iam")
    found = iam.list_policies(Scope="AWS")["Policies"]
    assert "AdministratorAccess" in {each["PolicyName"] for each in found}
    for each in found:
        assert _document(iam, each["Arn"], "v1")["Statement"]
    with refused("AccessDenied", ADMINISTRATOR, status=403):
        iam.delete_policy(PolicyArn=ADMINISTRATOR)
    with refused("AccessDenied", ADMINISTRATOR, status=403):
        iam.create_policy_version(PolicyArn=ADMINISTRATOR, PolicyDocument=CONNECT)
    with refused("AccessDenied", ADMINISTRATOR, status=403):
        iam.tag_policy(PolicyArn=ADMINISTRATOR, Tags=[{"Key": "a", "Value": "b"}])


def test_lists_by_scope_and_use(aws: Aws) -> None:
    iam = aws.client("iam")
    arn = iam.create_policy(PolicyName="unused", PolicyDocument=CONNECT)["Policy"]["Arn"]
    iam.create_user(UserName="ann")
    iam.attach_user_policy(UserName="ann", PolicyArn=ADMINISTRATOR)

    def names(**asked: Any) -> set[str]:
        return {each["PolicyName"] for each in iam.list_policies(**asked)["Policies"]}

    assert names(Scope="Local") == {"ElasticInferenceDefault", "unused"}
    assert names(OnlyAttached=True) == {"ElasticInferenceDefault", "AdministratorAccess"}
    assert names(OnlyAttached=True, Scope="AWS") == {"AdministratorAccess"}
    assert names(PathPrefix="/service-role/") == set()
    assert names(PolicyUsageFilter="PermissionsBoundary") == set()
    pages = iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 4})
    assert {each["Arn"] for page in pages for each in page["Policies"]} >= {arn, ADMINISTRATOR}
    used = iam.list_entities_for_policy(PolicyArn=ADMINISTRATOR)
    assert [each["UserName"] for each in used["PolicyUsers"]] == ["ann"]
    asked = {"PolicyArn": ADMINISTRATOR, "EntityFilter": "Role"}
    assert iam.list_entities_for_policy(**asked)["PolicyUsers"] == []
    with refused("DeleteConflict", "attached", status=409):
        iam.delete_policy(PolicyArn=f"arn:aws:iam::{aws.account}:policy/ElasticInferenceDefault")
