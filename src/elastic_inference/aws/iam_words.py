"""IAM's errors, in its own words."""

from __future__ import annotations

from elastic_inference.aws.errors import AwsError


def no_such(what: str, name: str) -> AwsError:
    """There is no such user, role, policy, …."""
    return AwsError("NoSuchEntity", f"The {what} with name {name} cannot be found.", 404)


def exists(what: str, name: str) -> AwsError:
    """There is one already."""
    return AwsError("EntityAlreadyExists", f"{what} with name {name} already exists.", 409)


def in_use(what: str) -> AwsError:
    """It cannot be deleted yet; `what` says what must be done first."""
    return AwsError("DeleteConflict", f"Cannot delete entity, must {what} first.", 409)


def too_many(quota: str, most: int) -> AwsError:
    """There are as many as there may be."""
    return AwsError("LimitExceeded", f"Cannot exceed quota for {quota}: {most}", 409)
