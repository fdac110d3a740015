"""What IAM's operations are about: found by its name or ARN, and described."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from elastic_inference.aws import iam_words
from elastic_inference.aws.call import Call
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.tags import shown as shown_tags
from elastic_inference.control import names, records
from elastic_inference.control.managed_policies import ManagedPolicy, managed
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.policy_versions import Version
from elastic_inference.control.records import InstanceProfile, PolicyRecord, Role, User

AnyPolicy = PolicyRecord | ManagedPolicy
_PATH = "/"


def user(plane: ControlPlane, call: Call) -> User:
    """The user of `UserName`.

    Raises:
        AwsError: there is none.
    """
    name = call.input["UserName"]
    found = plane.store.users.get(call.account, name)
    if found is None:
        raise iam_words.no_such("user", name)
    return found


def role(plane: ControlPlane, call: Call) -> Role:
    """The role of `RoleName`.

    Raises:
        AwsError: there is none.
    """
    name = call.input["RoleName"]
    found = plane.store.roles.get(call.account, name)
    if found is None:
        raise iam_words.no_such("role", name)
    return found


def profile(plane: ControlPlane, call: Call) -> InstanceProfile:
    """The instance profile of `InstanceProfileName`.

    Raises:
        AwsError: there is none.
    """
    name = call.input["InstanceProfileName"]
    found = plane.store.profiles.get(call.account, name)
    if found is None:
        raise AwsError("NoSuchEntity", f"Instance Profile {name} cannot be found.", 404)
    return found


def policy(plane: ControlPlane, call: Call) -> AnyPolicy:
    """The policy of `PolicyArn`, the account's or one of AWS's own.

    Raises:
        AwsError: there is none.
    """
    arn = call.input["PolicyArn"]
    own = managed(arn)
    if own is not None:
        return own
    head = names.policy_arn(call.account, "")
    if not arn.startswith("arn:"):
        raise iam_words.invalid_input(f"ARN {arn} is not valid.")
    found = plane.store.policies.get(call.account, arn.removeprefix(head))
    if found is None or not arn.startswith(head):
        raise iam_words.no_such_policy(arn)
    return found


def own_policy(plane: ControlPlane, call: Call) -> PolicyRecord:
    """The account's policy of `PolicyArn`, which may be changed.

    Raises:
        AwsError: there is none, or it is one of AWS's own.
    """
    found = policy(plane, call)
    if isinstance(found, ManagedPolicy):
        raise AwsError("AccessDenied", f"{found.arn} is AWS's own, which nobody changes.", 403)
    return found


def key_of(found: AnyPolicy) -> str:
    """What attachments call a policy."""
    return found.arn if isinstance(found, ManagedPolicy) else found.name


# -- as results show them -------------------------------------------------------------------------


def document(text: str) -> str:
    """A policy document as IAM answers it."""
    return quote(text, safe="")


def show_user(found: User, *, tags: bool = True) -> dict[str, Any]:
    return {
        "Path": _PATH,
        "UserName": found.name,
        "UserId": found.id,
        "Arn": names.user_arn(found.account, found.name),
        "CreateDate": found.created_at,
        "Tags": shown_tags(found.tags) if tags else None,
    }


def show_role(found: Role, *, tags: bool = True) -> dict[str, Any]:
    return {
        "Path": _PATH,
        "RoleName": found.name,
        "RoleId": found.id,
        "Arn": names.role_arn(found.account, found.name),
        "CreateDate": found.created_at,
        "AssumeRolePolicyDocument": document(found.trust_policy),
        "Description": found.description or None,
        "MaxSessionDuration": found.max_session,
        "Tags": shown_tags(found.tags) if tags else None,
    }


def show_profile(
    plane: ControlPlane, found: InstanceProfile, *, tags: bool = True
) -> dict[str, Any]:
    roles = found.role_name and plane.store.roles.get(found.account, found.role_name)
    return {
        "Path": _PATH,
        "InstanceProfileName": found.name,
        "InstanceProfileId": found.id,
        "Arn": names.profile_arn(found.account, found.name),
        "CreateDate": found.created_at,
        "Roles": [show_role(roles, tags=False)] if roles else [],
        "Tags": shown_tags(found.tags) if tags else None,
    }


def policy_arn(found: AnyPolicy) -> str:
    if isinstance(found, ManagedPolicy):
        return found.arn
    return names.policy_arn(found.account, found.name)


def show_policy(found: AnyPolicy, attached: int, *, whole: bool = True) -> dict[str, Any]:
    """A policy that so many have.

    Args:
        whole: with what lists do not have.
    """
    shown: dict[str, Any] = {
        "PolicyName": found.name,
        "PolicyId": found.id,
        "Arn": policy_arn(found),
        "Path": _PATH,
        "DefaultVersionId": "v1",
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": found.created_at,
        "UpdateDate": found.created_at,
    }
    if isinstance(found, PolicyRecord):
        shown |= {"DefaultVersionId": f"v{found.default_version}", "UpdateDate": found.updated_at}
        if whole:
            shown |= {"Description": found.description or None, "Tags": shown_tags(found.tags)}
    return shown


def show_version(found: Version, *, text: bool = True) -> dict[str, Any]:
    return {
        "Document": document(found.document) if text else None,
        "VersionId": f"v{found.number}",
        "IsDefaultVersion": found.is_default,
        "CreateDate": found.created_at,
    }


def attached_to(plane: ControlPlane, account: str, kind: str, name: str) -> list[dict[str, str]]:
    """The policies that a user or role has beside those inside it."""
    columns = plane.store.attachments.columns
    found = plane.store.attachments.where(
        columns.account == account, columns.kind == kind, columns.name == name
    )
    shown = []
    for each in found:
        own = managed(each.policy)
        shown.append(
            {
                "PolicyName": own.name if own else each.policy,
                "PolicyArn": own.arn if own else names.policy_arn(account, each.policy),
            }
        )
    return sorted(shown, key=lambda each: each["PolicyArn"])


def inside(plane: ControlPlane, account: str, kind: str, name: str) -> list[records.InlinePolicy]:
    """The policies inside a user or role."""
    columns = plane.store.inline_policies.columns
    return plane.store.inline_policies.where(
        columns.account == account, columns.kind == kind, columns.name == name,
        order=(columns.policy,),
    )  # fmt: skip
