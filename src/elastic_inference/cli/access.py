"""`ei access`: users, roles, policies, keys and AWS identities."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elastic_inference.cli import arguments, credentials
from elastic_inference.cli.connection import at, pointed, pool, unsigned
from elastic_inference.cli.output import local_time, table
from elastic_inference.errors import ConfigurationError, InvalidRequestError, UnavailableError

Document = dict[str, Any]
_SHORTEST_SESSION = 900.0
# Which operation a command is, by its words behind `ei access`; what it takes, by options' names;
# and what it says then.
_CALLS: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "user create": ("CreateUser", {"name": "userName"}, "user {name} is there"),
    "user delete": ("DeleteUser", {"name": "userName"}, "user {name} is gone"),
    "role delete": ("DeleteRole", {"name": "roleName"}, "role {name} is gone"),
    "policy delete": ("DeletePolicy", {"name": "policyName"}, "policy {name} is gone"),
    "key delete": ("DeleteAccessKey", {"key": "accessKeyId"}, "key {key} is gone"),
    "aws allow": (
        "PutIdentityMapping", {"arn": "awsArn", "role": "roleName"}, "{arn} has the role {role}",
    ),
    "aws deny": ("DeleteIdentityMapping", {"arn": "awsArn"}, "{arn} has no role"),
}  # fmt: skip
# The key of the list in the answer, and the table's columns: heading and field.
_LISTS: Mapping[str, tuple[str, str, Sequence[tuple[str, str]]]] = {
    "user list": ("ListUsers", "users", (
        ("USER", "userName"), ("POLICIES", "policies"), ("CREATED", "createTime"), ("ARN", "arn"),
    )),
    "role list": ("ListRoles", "roles", (
        ("ROLE", "roleName"), ("POLICIES", "policies"), ("CREATED", "createTime"),
        ("DESCRIPTION", "description"),
    )),
    "policy list": ("ListPolicies", "policies", (
        ("POLICY", "policyName"), ("ATTACHED TO", "attachedTo"), ("CHANGED", "updateTime"),
        ("DESCRIPTION", "description"),
    )),
    "key list": ("ListAccessKeys", "accessKeys", (
        ("KEY", "accessKeyId"), ("USER", "userName"), ("STATUS", "status"),
        ("CREATED", "createTime"),
    )),
    "aws list": ("ListIdentityMappings", "mappings", (
        ("AWS IDENTITY", "awsArn"), ("ROLE", "roleName"),
    )),
}  # fmt: skip


def main(options: argparse.Namespace) -> int:
    words = options.path.removeprefix("access ")
    if words in _CALLS:
        operation, fields, said = _CALLS[words]
        pool().call(operation, {field: getattr(options, name) for name, field in fields.items()})
        print(said.format(**vars(options)))
    elif words in _LISTS:
        _list(options, words)
    else:
        _OTHERS[words](options)
    return 0


def _list(options: argparse.Namespace, words: str) -> None:
    operation, key, columns = _LISTS[words]
    user = getattr(options, "user", None)
    answer = pool().call(operation, {"userName": user} if user else {})
    if options.output == "json":
        print(json.dumps(answer, indent=2))
        return
    rows = [[_cell(field, row.get(field)) for _, field in columns] for row in answer[key]]
    print(table([heading for heading, _ in columns], rows))


def _cell(field: str, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value) or "-"
    return local_time(value) if field.endswith("Time") else str(value or "-")


def _create_role(options: argparse.Namespace) -> None:
    asked: Document = {"roleName": options.name, "description": options.description}
    if options.trust_policy is not None:
        asked["trustPolicy"] = arguments.content(options.trust_policy, "--trust-policy")
    pool().call("CreateRole", asked)
    print(f"role {options.name} is there")


def _assume_role(options: argparse.Namespace) -> None:
    asked: Document = {"roleName": options.name}
    if options.duration is not None:
        asked["durationSeconds"] = arguments.duration(
            options.duration, "--duration", _SHORTEST_SESSION
        )
    answer = pool().call("AssumeRole", asked)
    credentials.show(options.output, answer, credentials.variables(answer["credentials"]))


def _put_policy(options: argparse.Namespace) -> None:
    document = arguments.content(options.file, "The policy")
    pool().call(
        "PutPolicy",
        {
            "policyName": options.name,
            "document": document,
            "description": options.description,
        },
    )
    print(f"policy {options.name} is in force where it is attached")


def _show_policy(options: argparse.Namespace) -> None:
    text = pool().call("GetPolicy", {"policyName": options.name})["document"]
    print(text.rstrip("\n"))


def _attach(options: argparse.Namespace) -> None:
    operation, done = {
        "attach": ("AttachPolicy", "has"),
        "detach": ("DetachPolicy", "has no longer"),
    }[options.path.rpartition(" ")[2]]
    kind, name = ("role", options.role) if options.role else ("user", options.user)
    pool().call(operation, {"policyName": options.policy, f"{kind}Name": name})
    print(f"{kind} {name} {done} the policy {options.policy}")


def _create_key(options: argparse.Namespace) -> None:
    answer = pool().call("CreateAccessKey", {"userName": options.user})
    credentials.show(options.output, answer, credentials.variables(answer))


def _set_key(options: argparse.Namespace) -> None:
    on = options.path.endswith("enable")
    pool().call(
        "UpdateAccessKey",
        {"accessKeyId": options.key, "status": "Active" if on else "Inactive"},
    )
    print(f"key {options.key} is {'enabled' if on else 'disabled'}")


def _login(options: argparse.Namespace) -> None:
    # What it imports takes a while, and no other command needs it.
    from elastic_inference.control.aws_identity import presign  # noqa: PLC0415

    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not (key and secret):
        raise ConfigurationError(
            "There are no AWS credentials in the environment.",
            next_step="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ' (eval "$(aws configure export-credentials --format env)").',
        )
    if options.ca is not None and options.endpoint is None:
        raise InvalidRequestError("--ca is for --endpoint.", next_step="Give the pool's URL too.")
    if options.endpoint is not None and not options.endpoint.startswith("https://"):
        raise InvalidRequestError(
            f"--endpoint {options.endpoint[:80]!r} is no URL of a pool.",
            next_step="Write https://HOST:PORT.",
        )
    pointer = at(options.endpoint, options.ca or "") if options.endpoint else pointed()
    if pointer is None:
        raise UnavailableError(
            "No pool is known.", next_step="Name it: --endpoint https://HOST:PORT --ca ca.pem."
        )
    client = unsigned(pointer)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    sts = os.environ.get("AWS_ENDPOINT_URL_STS", "")
    shown = presign(
        key, secret, os.environ.get("AWS_SESSION_TOKEN", ""), region,
        client.call("DescribePool", {})["poolId"],
        # The pool's own STS, which ei env sets, knows nothing of AWS's identities.
        endpoint="" if sts.rstrip("/") == pointer.endpoint.rstrip("/") else sts,
    )  # fmt: skip
    answer = client.call("ExchangeIdentity", shown)
    credentials.show(options.output, answer, credentials.variables(answer["credentials"]))


_OTHERS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "role create": _create_role,
    "role assume": _assume_role,
    "policy put": _put_policy,
    "policy show": _show_policy,
    "attach": _attach,
    "detach": _attach,
    "key create": _create_key,
    "key enable": _set_key,
    "key disable": _set_key,
    "aws login": _login,
}
