"""Commands about who may do what."""

from __future__ import annotations

import argparse

from elastic_inference.cli.commands import Commands, add_output

_ACCESS_DESCRIPTION = """\
Users have access keys, instances have roles. What either may do is in policies, in the form of
AWS IAM; actions are elastic-inference:Connect, elastic-inference:DescribeInstances and so on.
"""
_ACCESS_EXAMPLES = """\
examples:
  ei access role create reader
  ei access policy put read-only policy.json
  ei access attach read-only --role reader
  ei access user create alice && ei access key create alice
  ei access aws allow arn:aws:iam::123456789012:role/inference reader
"""
_POLICY_EXAMPLES = """\
examples:
  ei access policy put connect - <<'END'
  {"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
   "Action": "elastic-inference:Connect", "Resource": "*"}]}
  END
  ei access policy show connect
"""
_ROLE_EXAMPLES = """\
examples:
  ei access role create reader --description "may look"
  eval "$(ei access role assume reader)"          act as the role in this shell
  ei access role list
"""
_USER_EXAMPLES = """\
examples:
  ei access user create alice
  ei access user list
"""
_ATTACH_EXAMPLES = """\
examples:
  ei access attach read-only --role reader
  ei access attach read-only --user alice
  ei access detach read-only --role reader
"""
_KEY_EXAMPLES = """\
examples:
  ei access key create alice
  ei access key disable AKIA0123456789ABCDEF       takes effect at once
  ei access key list --user alice
"""
_AWS_DESCRIPTION = """\
Who has AWS credentials may use a role here: the pool asks AWS whose they are. No secret is sent.
"""
_AWS_EXAMPLES = """\
examples:
  ei access aws allow arn:aws:iam::123456789012:role/inference reader
  ei access aws list
  eval "$(ei access aws login)"                    with AWS credentials in the environment
  ei access aws login --endpoint https://10.0.0.5 --ca ca.pem
"""
_ROLE = "name of a role"


def add_to(commands: Commands) -> None:
    """Add them."""
    access = commands.group("access", "say who may do what", _ACCESS_DESCRIPTION, _ACCESS_EXAMPLES)
    _add_users(access)
    _add_roles(access)
    _add_policies(access)
    for name, help_ in (
        ("attach", "give a role or user a policy"),
        ("detach", "take a policy from a role or user"),
    ):
        parser = access.add(name, help_, examples=_ATTACH_EXAMPLES)
        parser.add_argument("policy", metavar="POLICY", help="name of a policy")
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--role", metavar="ROLE", help=_ROLE)
        who.add_argument("--user", metavar="USER", help="name of a user")
    _add_keys(access)
    _add_identities(access)


def _add_users(access: Commands) -> None:
    user = access.group("user", "create, delete and list users", examples=_USER_EXAMPLES)
    for name in ("create", "delete"):
        _name(user.add(name, f"{name} a user", examples=_USER_EXAMPLES), "user")
    add_output(user.add("list", "list users and their policies", examples=_USER_EXAMPLES))


def _add_roles(access: Commands) -> None:
    role = access.group("role", "create, delete, list and assume roles", examples=_ROLE_EXAMPLES)
    create = role.add("create", "create a role", examples=_ROLE_EXAMPLES)
    _name(create, "role")
    create.add_argument("--description", default="", metavar="TEXT", help="what it is for")
    create.add_argument(
        "--trust-policy", metavar="FILE",
        help="who may assume it, a policy in JSON; - for standard input",
    )  # fmt: skip
    _name(role.add("delete", "delete a role", examples=_ROLE_EXAMPLES), "role")
    add_output(role.add("list", "list roles and their policies", examples=_ROLE_EXAMPLES))
    assume = role.add(
        "assume", "get credentials of a role", "Print credentials of a role, as lines for a shell.",
        _ROLE_EXAMPLES,
    )  # fmt: skip
    _name(assume, "role")
    assume.add_argument(
        "--duration", metavar="TIME", help="how long they are valid: 15min to 12h (default: 1h)"
    )
    _add_shell(assume)


def _add_policies(access: Commands) -> None:
    policy = access.group(
        "policy", "put, show, delete and list policies", examples=_POLICY_EXAMPLES
    )
    put = policy.add(
        "put", "create or replace a policy",
        "Create or replace a policy. A mistake in it is named by its place.", _POLICY_EXAMPLES,
    )  # fmt: skip
    _name(put, "policy")
    put.add_argument("file", metavar="FILE", help="the policy in JSON; - for standard input")
    put.add_argument("--description", default="", metavar="TEXT", help="what it is for")
    _name(policy.add("show", "print a policy's text", examples=_POLICY_EXAMPLES), "policy")
    _name(policy.add("delete", "delete a policy", examples=_POLICY_EXAMPLES), "policy")
    add_output(policy.add("list", "list policies and who has them", examples=_POLICY_EXAMPLES))


def _add_keys(access: Commands) -> None:
    key = access.group("key", "create, disable and list access keys", examples=_KEY_EXAMPLES)
    create = key.add("create", "create an access key of a user", examples=_KEY_EXAMPLES)
    create.add_argument("user", metavar="USER", help="name of a user")
    _add_shell(create)
    for name, help_ in (
        ("enable", "let a disabled key be used again"),
        ("disable", "let a key be used no more, at once"),
        ("delete", "delete a key"),
    ):
        parser = key.add(name, help_, examples=_KEY_EXAMPLES)
        parser.add_argument("key", metavar="KEY", help="its id, AKIA...")
    list_ = key.add("list", "list access keys, without their secrets", examples=_KEY_EXAMPLES)
    list_.add_argument("--user", metavar="USER", help="those of one user")
    add_output(list_)


def _add_identities(access: Commands) -> None:
    aws = access.group(
        "aws", "let AWS identities in", _AWS_DESCRIPTION, _AWS_EXAMPLES
    )  # fmt: skip
    allow = aws.add("allow", "give an AWS identity a role here", _AWS_DESCRIPTION, _AWS_EXAMPLES)
    _arn(allow)
    allow.add_argument("role", metavar="ROLE", help=_ROLE)
    _arn(aws.add("deny", "take the role from an AWS identity", examples=_AWS_EXAMPLES))
    add_output(aws.add("list", "list AWS identities and their roles", examples=_AWS_EXAMPLES))
    login = aws.add(
        "login", "get credentials by those of AWS",
        "Print credentials of the role that the AWS credentials in the environment\n"
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) have in a pool.",
        _AWS_EXAMPLES,
    )  # fmt: skip
    login.add_argument("--endpoint", metavar="URL", help="the pool's URL (default: that in use)")
    login.add_argument(
        "--ca", metavar="FILE", help="certificate of the pool's authority, for --endpoint"
    )
    _add_shell(login)


def _arn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "arn",
        metavar="ARN",
        help="arn:aws:iam::ACCOUNT:role/NAME or user/NAME; NAME may have *",
    )


def _name(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("name", metavar="NAME", help=f"name of the {what}")


def _add_shell(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", choices=["shell", "json"], default="shell", help="(default: shell)"
    )
