"""On what the operations of IAM are, as policies name it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from elastic_inference.aws.call import Call, Document, Operation
from elastic_inference.aws.call import operation as any_operation
from elastic_inference.control import names, records

# The parameters that name it, the one that counts first, and how an ARN is made of them.
_NAMED: Sequence[tuple[str, Callable[[str, str], str]]] = (
    ("InstanceProfileName", names.profile_arn),
    ("UserName", names.user_arn),
    ("RoleName", names.role_arn),
    ("PolicySourceArn", lambda _, arn: arn),
    ("PolicyArn", lambda _, arn: arn),
    ("PolicyName", names.policy_arn),
)
# What is about the caller where it names nobody.
_OWN = frozenset(
    {"GetUser", "CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey"}
)


def named(call: Call) -> Sequence[str]:
    """The ARN of what a call names; `*` where that is nothing in particular."""
    for parameter, arn in _NAMED:
        if parameter in call.input:
            return (arn(call.account, call.input[parameter]),)
    key = call.caller.principal.key
    if call.operation in _OWN and key.kind == records.USER:
        return (names.user_arn(call.account, key.name),)
    return ("*",)


def operation(run: Callable[[Call], Document], honours: str) -> Operation:
    """An operation of IAM's, on what it names."""
    return any_operation(run, honours, resources=named)
