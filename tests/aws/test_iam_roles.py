"""IAM's roles and instance profiles."""

from __future__ import annotations

import json
from typing import Any

from tests.aws.conftest import Aws
from tests.aws.iam import CONNECT, allow, trust
from tests.aws.refusals import refused
from tests.aws.shapes import Clients, assert_shape_like_moto

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
LACKS_LAST_USED = {"role.RoleLastUsed": "a pool does not note when roles are used"}


def test_a_role_as_moto_shows_it(aws: Aws) -> None:
    def steps(clients: Clients) -> dict[str, Any]:
        iam = clients("iam")
        made = iam.create_role(
            RoleName="reader",
            AssumeRolePolicyDocument=trust(),
            Description="It reads.",
            Tags=[{"Key": "team", "Value": "vision"}],
        )
        iam.put_role_policy(RoleName="reader", PolicyName="inside", PolicyDocument=CONNECT)
        policy = iam.create_policy(PolicyName="connect", PolicyDocument=CONNECT)["Policy"]
        iam.attach_role_policy(RoleName="reader", PolicyArn=policy["Arn"])
        return {
            "made": made["Role"],
            "role": iam.get_role(RoleName="reader")["Role"],
            "roles": [each for each in iam.list_roles()["Roles"] if each["RoleName"] == "reader"],
            "tags": iam.list_role_tags(RoleName="reader"),
            "inside": iam.get_role_policy(RoleName="reader", PolicyName="inside"),
            "names": iam.list_role_policies(RoleName="reader"),
            "attached": iam.list_attached_role_policies(RoleName="reader"),
            "described": iam.update_role_description(RoleName="reader", Description="More.")[
                "Role"
            ],
        }

    lacks = LACKS_LAST_USED | {
        "roles.RoleLastUsed": "as above", "described.RoleLastUsed": "as above",
    }  # fmt: skip
    assert_shape_like_moto(aws.client, steps, lacks)


def test_the_role_that_the_original_set_up_makes(aws: Aws) -> None:
    iam = aws.client("iam")
    name, profile = "Amazon-Elastic-Inference-Connect-Role", "Amazon-Elastic-Inference-Profile"
    assert all(each["RoleName"] != name for each in iam.list_roles()["Roles"])
    made = iam.create_role(AssumeRolePolicyDocument=trust(), Path="/", RoleName=name)["Role"]
    policy = iam.create_policy(
        PolicyName="Amazon-Elastic-Inference-Connect-Policy",
        Path="/",
        PolicyDocument=CONNECT,
        Description="Policy for connecting to Amazon EI service",
    )["Policy"]
    iam.attach_role_policy(PolicyArn=policy["Arn"], RoleName=name)
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    iam.create_instance_profile(InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=name)
    (found,) = [each for each in iam.list_roles()["Roles"] if each["RoleName"] == name]
    assert found["AssumeRolePolicyDocument"] == json.loads(trust())
    assert found["Arn"] == made["Arn"]
    shown = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
    assert [each["RoleName"] for each in shown["Roles"]] == [name]
    details = iam.get_account_authorization_details(Filter=["LocalManagedPolicy"])
    (detail,) = [each for each in details["Policies"] if each["Arn"] == policy["Arn"]]
    assert detail["PolicyVersionList"][0]["Document"] == json.loads(CONNECT)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": policy["PolicyName"], "PolicyArn": policy["Arn"]}]


def test_a_role_changes_and_goes(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust())
    with refused("EntityAlreadyExists", "reader", status=409):
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust())
    iam.update_role(RoleName="reader", Description="It reads.", MaxSessionDuration=7200)
    anybody = trust({"AWS": "*"})
    iam.update_assume_role_policy(RoleName="reader", PolicyDocument=anybody)
    role = iam.get_role(RoleName="reader")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("It reads.", 7200)
    assert role["AssumeRolePolicyDocument"] == json.loads(anybody)
    iam.create_instance_profile(InstanceProfileName="reader")
    iam.add_role_to_instance_profile(InstanceProfileName="reader", RoleName="reader")
    with refused("DeleteConflict", "instance profile", status=409):
        iam.delete_role(RoleName="reader")
    iam.remove_role_from_instance_profile(InstanceProfileName="reader", RoleName="reader")
    iam.attach_role_policy(RoleName="reader", PolicyArn=ADMINISTRATOR)
    with refused("DeleteConflict", "detach", status=409):
        iam.delete_role(RoleName="reader")
    iam.detach_role_policy(RoleName="reader", PolicyArn=ADMINISTRATOR)
    iam.put_role_policy(RoleName="reader", PolicyName="inside", PolicyDocument=CONNECT)
    with refused("DeleteConflict", "delete policies", status=409):
        iam.delete_role(RoleName="reader")
    iam.delete_role_policy(RoleName="reader", PolicyName="inside")
    iam.delete_role(RoleName="reader")
    with refused("NoSuchEntity", "reader", status=404):
        iam.get_role(RoleName="reader")


def test_what_is_no_role(aws: Aws) -> None:
    iam = aws.client("iam")
    before = iam.list_roles()["Roles"]
    with refused("MalformedPolicyDocument"):
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument="{}")
    with refused("MalformedPolicyDocument", "Resource"):
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument=CONNECT)
    with refused("UnsupportedOperation", "Path"):
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust(), Path="/a/")
    with refused("ValidationError"):
        iam.create_role(RoleName="a/b", AssumeRolePolicyDocument=trust())
    with refused("UnsupportedOperation", "PermissionsBoundary"):
        iam.create_role(
            RoleName="reader", AssumeRolePolicyDocument=trust(), PermissionsBoundary=ADMINISTRATOR
        )
    with refused("NoSuchEntity", status=404):
        iam.update_role(RoleName="reader")
    assert iam.list_roles()["Roles"] == before


def test_policies_inside_and_attached(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust())
    with refused("MalformedPolicyDocument", "Statement"):
        iam.put_role_policy(RoleName="reader", PolicyName="inside", PolicyDocument="{}")
    with refused("NoSuchEntity", status=404):
        iam.put_role_policy(RoleName="writer", PolicyName="inside", PolicyDocument=CONNECT)
    for name in "ba":
        iam.put_role_policy(RoleName="reader", PolicyName=name, PolicyDocument=CONNECT)
    page = iam.list_role_policies(RoleName="reader", MaxItems=1)
    assert (page["PolicyNames"], page["IsTruncated"]) == (["a"], True)
    found = iam.get_role_policy(RoleName="reader", PolicyName="b")
    assert found["PolicyDocument"] == json.loads(CONNECT)
    with refused("NoSuchEntity", "none", status=404):
        iam.get_role_policy(RoleName="reader", PolicyName="none")
    with refused("NoSuchEntity", "none", status=404):
        iam.delete_role_policy(RoleName="reader", PolicyName="none")
    for each in ("arn:aws:iam::aws:policy/Nothing", f"arn:aws:iam::{aws.account}:policy/none"):
        with refused("NoSuchEntity", each, status=404):
            iam.attach_role_policy(RoleName="reader", PolicyArn=each)
    with refused("InvalidInput", "is not valid"):
        iam.attach_role_policy(RoleName="reader", PolicyArn="AdministratorAccess-by-name")
    iam.attach_role_policy(RoleName="reader", PolicyArn=ADMINISTRATOR)
    iam.attach_role_policy(RoleName="reader", PolicyArn=ADMINISTRATOR)
    assert len(iam.list_attached_role_policies(RoleName="reader")["AttachedPolicies"]) == 1
    iam.detach_role_policy(RoleName="reader", PolicyArn=ADMINISTRATOR)
    with refused("NoSuchEntity", ADMINISTRATOR, status=404):
        iam.detach_role_policy(RoleName="reader", PolicyArn=ADMINISTRATOR)


def test_no_more_policies_than_may_be(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust())
    arns = [
        iam.create_policy(PolicyName=f"p{number}", PolicyDocument=CONNECT)["Policy"]["Arn"]
        for number in range(21)
    ]
    for arn in arns[:20]:
        iam.attach_role_policy(RoleName="reader", PolicyArn=arn)
    with refused("LimitExceeded", "PoliciesPerRole", status=409):
        iam.attach_role_policy(RoleName="reader", PolicyArn=arns[20])
    pages = iam.get_paginator("list_attached_role_policies").paginate(
        RoleName="reader", PaginationConfig={"PageSize": 7}
    )
    assert sum(len(each["AttachedPolicies"]) for each in pages) == 20


# -- instance profiles ----------------------------------------------------------------------------


def test_an_instance_profile_as_moto_shows_it(aws: Aws) -> None:
    def steps(clients: Clients) -> dict[str, Any]:
        iam = clients("iam")
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust())
        tags = [{"Key": "team", "Value": "vision"}]
        made = iam.create_instance_profile(InstanceProfileName="mine", Tags=tags)
        iam.add_role_to_instance_profile(InstanceProfileName="mine", RoleName="reader")
        return {
            "made": made["InstanceProfile"],
            "profile": iam.get_instance_profile(InstanceProfileName="mine")["InstanceProfile"],
            "profiles": iam.list_instance_profiles(),
            "of role": iam.list_instance_profiles_for_role(RoleName="reader"),
        }

    assert_shape_like_moto(
        aws.client,
        steps,
        {
            "profiles.InstanceProfiles.Tags": "AWS's lists have no tags",
            "of role.InstanceProfiles.Tags": "AWS's lists have no tags",
        },
    )


def test_an_instance_profile_comes_and_goes(aws: Aws) -> None:
    iam = aws.client("iam")
    for name in ("reader", "writer"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust())
    iam.create_instance_profile(InstanceProfileName="mine")
    with refused("EntityAlreadyExists", "mine", status=409):
        iam.create_instance_profile(InstanceProfileName="mine")
    with refused("NoSuchEntity", "none", status=404):
        iam.add_role_to_instance_profile(InstanceProfileName="mine", RoleName="none")
    with refused("NoSuchEntity", "none", status=404):
        iam.add_role_to_instance_profile(InstanceProfileName="none", RoleName="reader")
    iam.add_role_to_instance_profile(InstanceProfileName="mine", RoleName="reader")
    with refused("LimitExceeded", "InstanceSessionsPerInstanceProfile: 1", status=409):
        iam.add_role_to_instance_profile(InstanceProfileName="mine", RoleName="writer")
    with refused("NoSuchEntity", "writer", status=404):
        iam.remove_role_from_instance_profile(InstanceProfileName="mine", RoleName="writer")
    with refused("DeleteConflict", "remove roles", status=409):
        iam.delete_instance_profile(InstanceProfileName="mine")
    iam.tag_instance_profile(InstanceProfileName="mine", Tags=[{"Key": "a", "Value": "b"}])
    assert iam.list_instance_profile_tags(InstanceProfileName="mine")["Tags"]
    iam.untag_instance_profile(InstanceProfileName="mine", TagKeys=["a"])
    assert not iam.list_instance_profile_tags(InstanceProfileName="mine")["Tags"]
    iam.remove_role_from_instance_profile(InstanceProfileName="mine", RoleName="reader")
    iam.delete_instance_profile(InstanceProfileName="mine")
    with refused("NoSuchEntity", "Instance Profile mine cannot be found", status=404):
        iam.get_instance_profile(InstanceProfileName="mine")


def test_instance_profiles_in_pages(aws: Aws) -> None:
    iam = aws.client("iam")
    for number in range(3):
        iam.create_instance_profile(InstanceProfileName=f"p{number}")
    pages = iam.get_paginator("list_instance_profiles").paginate(PaginationConfig={"PageSize": 3})
    names = [each["InstanceProfileName"] for page in pages for each in page["InstanceProfiles"]]
    assert names == ["elastic-inference", "p0", "p1", "p2"]


def test_who_gives_a_role_away_must_be_let(aws: Aws) -> None:
    owner = aws.client("iam")
    owner.create_role(RoleName="strong", AssumeRolePolicyDocument=trust())
    owner.create_instance_profile(InstanceProfileName="mine")
    key = aws.user("ann", allow("iam:AddRoleToInstanceProfile"))
    with refused("AccessDenied", "iam:PassRole", "role/strong", status=403):
        aws.client("iam", key).add_role_to_instance_profile(
            InstanceProfileName="mine", RoleName="strong"
        )
    assert owner.get_instance_profile(InstanceProfileName="mine")["InstanceProfile"]["Roles"] == []


def test_instances_follow_their_profile(aws: Aws) -> None:
    plane, iam = aws.plane, aws.client("iam")
    for name in ("reader", "writer"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust())
    made = iam.create_instance_profile(InstanceProfileName="mine")["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName="mine", RoleName="reader")
    instance, _, _ = plane.run_instance(["eia1.medium"], role_name="reader")
    other, _, _ = plane.run_instance(["eia1.medium"], role_name="reader")
    given = {"Name": "mine", "Id": made["InstanceProfileId"]}
    plane.store.set_instance(instance.id, ec2={"IamInstanceProfile": given})

    def who(instance_id: str) -> str | None:
        key = plane.access.session_of(plane.instance(instance_id))
        return aws.client("sts", key).get_caller_identity()["Arn"] if key else None

    arn = f"arn:aws:sts::{aws.account}:assumed-role"
    assert who(instance.id) == f"{arn}/reader/{instance.id}"
    before = plane.access.session_of(plane.instance(instance.id))
    iam.remove_role_from_instance_profile(InstanceProfileName="mine", RoleName="reader")
    assert who(instance.id) is None
    with refused("InvalidClientTokenId", status=403):
        aws.client("sts", before).get_caller_identity()
    iam.add_role_to_instance_profile(InstanceProfileName="mine", RoleName="writer")
    assert who(instance.id) == f"{arn}/writer/{instance.id}"
    assert who(other.id) == f"{arn}/reader/{other.id}"
