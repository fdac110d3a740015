"""STS: who somebody is, and credentials for a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError, said
from elastic_inference.control import names, records
from elastic_inference.control.identities import USUAL_SESSION
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import AccessKey, Role
from elastic_inference.errors import LimitExceededError

# Of a role that was taken with a role's own credentials, and of the account's owner.
_HOUR = 3600
_HALF_A_DAY = 43200


class Sts:
    """The operations of STS."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "GetCallerIdentity": operation(self._identity),
            "GetSessionToken": operation(self._token, "DurationSeconds"),
            "AssumeRole": operation(
                self._assume, "RoleArn RoleSessionName DurationSeconds ExternalId"
            ),
        }

    def _identity(self, call: Call) -> Document:
        principal = call.caller.principal
        return {
            "Account": call.account,
            "Arn": principal.arn,
            "UserId": self._id_of(principal.key),
        }

    def _id_of(self, key: AccessKey) -> str:
        store = self._plane.store
        if key.kind == records.USER:
            user = store.users.get(key.account, key.name)
            return user.id if user else key.name
        if key.kind == records.ROLE:
            role = store.roles.get(key.account, key.name)
            return f"{role.id if role else key.name}:{key.session}"
        return f"host:{key.instance_id}" if key.kind == records.REGISTERED else key.account

    def _token(self, call: Call) -> Document:
        key = call.caller.principal.key
        longest = _HOUR if key.kind == records.OWNER else 3 * _HALF_A_DAY
        lifetime = min(call.input.get("DurationSeconds", _HALF_A_DAY), longest)
        with _throttled():
            return {"Credentials": _show(self._plane.access.add_token(key, lifetime))}

    # -- roles ----------------------------------------------------------------------------------

    def _assume(self, call: Call) -> Document:
        session = call.input["RoleSessionName"]
        access = self._plane.access
        with self._plane.store.transaction():
            role = self._trusted(call)
            lifetime = _duration(call, role)
            with _throttled():
                key = access.add_session(
                    call.account, role.name, session, lifetime, taker=call.caller.principal
                )
        return {
            "Credentials": _show(key),
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role.id}:{session}",
                "Arn": names.session_arn(call.account, role.name, session),
            },
        }

    def _trusted(self, call: Call) -> Role:
        """The role that is asked for, if the caller may take it.

        Raises:
            AwsError: it may not, or there is no such role, which is not told apart.
        """
        arn = call.input["RoleArn"]
        head, principal = names.role_arn(call.account, ""), call.caller.principal
        role = self._plane.store.roles.get(call.account, arn.removeprefix(head))
        if principal.key.kind == records.REGISTERED:
            raise _denied(call, "a host's own key is for that host alone")
        if role is None or not arn.startswith(head):
            raise _denied(call, "there is no such role, or it trusts nobody like you")
        context = {**call.caller.context, "sts:RoleSessionName": call.input["RoleSessionName"]}
        if "ExternalId" in call.input:
            context["sts:ExternalId"] = call.input["ExternalId"]
        trust = self._plane.access.trust(principal, role, context)
        if not trust.decision.allowed:
            raise _denied(call, "the role's trust policy does not allow it")
        own = self._plane.access.decide(principal, "sts:AssumeRole", arn, context)
        if own is not None and (own.explicit_deny or not (own.allowed or trust.by_name)):
            raise _denied(call, "no policy of yours allows it")
        return role


def _duration(call: Call, role: Role) -> int:
    wanted = int(call.input.get("DurationSeconds", USUAL_SESSION))
    if wanted > role.max_session:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )
    if wanted > _HOUR and call.caller.principal.key.kind == records.ROLE:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by"
            " role chaining",
        )
    return wanted


@contextlib.contextmanager
def _throttled() -> Iterator[None]:
    try:
        yield
    except LimitExceededError as error:
        raise AwsError("Throttling", said(error)) from error


def _denied(call: Call, why: str) -> AwsError:
    return AwsError(
        "AccessDenied",
        f"User: {call.caller.principal.arn} is not authorized to perform: sts:AssumeRole on"
        f" resource: {call.input['RoleArn']}, since {why}",
        403,
    )


def _show(key: AccessKey) -> Mapping[str, Any]:
    return {
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret,
        "SessionToken": key.session_token,
        "Expiration": key.expires_at,
    }
