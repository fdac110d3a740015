"""Instance profiles: what gives an instance its role."""

from __future__ import annotations

from collections.abc import Mapping

from elastic_inference.aws.errors import AwsError
from elastic_inference.control import names
from elastic_inference.control.access import Context, Principal
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import InstanceProfile

EC2 = "ec2.amazonaws.com"


def profile_of(plane: ControlPlane, account: str, spec: Mapping[str, str]) -> InstanceProfile:
    """The instance profile that a request of EC2 names by `Arn` or `Name`.

    Raises:
        AwsError: there is none; in EC2's words.
    """
    arn, name = spec.get("Arn"), spec.get("Name")
    if arn is not None and name is not None:
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter 'iamInstanceProfile.name' may not be used in combination with"
            " 'iamInstanceProfile.arn'",
        )
    wanted = _name_in(account, arn) if arn is not None else name or ""
    found = plane.store.profiles.get(account, wanted)
    if found is None:
        kind = "name" if arn is None else "arn"
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({(name if arn is None else arn or '')!s:.256}) for parameter"
            f" iamInstanceProfile.{kind} is invalid. Invalid IAM Instance Profile"
            f" {'name' if arn is None else 'ARN'}",
        )
    return found


def role_of(plane: ControlPlane, account: str, spec: Mapping[str, str]) -> str:
    """The role that an instance has by an instance profile; see `profile_of`.

    Raises:
        AwsError: there is no such profile, or it has no role.
    """
    profile = profile_of(plane, account, spec)
    if profile.role_name is None:
        arn = names.profile_arn(account, profile.name)
        raise AwsError(
            "InvalidParameterValue",
            f'IAM Instance Profile "{arn}" has no associated IAM Roles',
        )
    return profile.role_name


def check_pass(
    plane: ControlPlane,
    principal: Principal,
    role: str,
    *,
    service: str = EC2,
    context: Context | None = None,
) -> None:
    """Refuse who may not give a role to a service (iam:PassRole).

    Raises:
        AccessDeniedError: no policy lets the principal pass it.
    """
    plane.access.authorise(
        principal,
        "iam:PassRole",
        names.role_arn(principal.account, role),
        {**(context or {}), "iam:PassedToService": service},
    )


def shown_for(plane: ControlPlane, account: str, role: str) -> dict[str, str] | None:
    """`Arn` and `Id` of the profile by which an instance may have a role; None: there is none."""
    columns = plane.store.profiles.columns
    found = plane.store.profiles.where(
        columns.account == account, columns.role_name == role, order=(columns.name,)
    )
    # That of the role's own name is the one that most people mean.
    best = next((each for each in found if each.name == role), found[0] if found else None)
    return None if best is None else {"Arn": names.profile_arn(account, best.name), "Id": best.id}


def _name_in(account: str, arn: str) -> str:
    head = names.profile_arn(account, "")
    return arn.removeprefix(head) if arn.startswith(head) else ""
