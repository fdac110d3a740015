"""`ei access` at the command line: who may do what, and that it counts."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.cli.pool import Shell, shared
from tests.pools import ei

pytestmark = pytest.mark.slow

LOOK = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["elastic-inference:Describe*", "elastic-inference:List*"],
            "Resource": "*",
        }
    ],
}
AWS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


ROLE = "arn:aws:iam::123456789012:role/inference"
IDENTITY = {
    "Account": "123456789012",
    "Arn": "arn:aws:sts::123456789012:assumed-role/inference/i-1",
    "UserId": "AROAEXAMPLE:i-1",
}


class Sts(BaseHTTPRequestHandler):
    """Says of every signature that it is IDENTITY's."""

    def do_GET(self) -> None:
        result = {"GetCallerIdentityResponse": {"GetCallerIdentityResult": IDENTITY}}
        body = json.dumps(result).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def sts() -> Iterator[str]:
    """URL of what stands for AWS STS."""
    with HTTPServer(("127.0.0.1", 0), Sts) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def shell(sts: str) -> Iterator[Shell]:
    with shared(EI_STS_ENDPOINT=sts) as made:
        yield made


@pytest.fixture
def look(shell: Shell) -> str:
    """A policy that lets one look."""
    return _policy(shell, "look", LOOK)


def _policy(shell: Shell, name: str, document: object) -> str:
    file = shell.home / f"{name}.json"
    file.write_text(json.dumps(document))
    shell.ok("access", "policy", "put", name, str(file))
    return name


def _exported(lines: str) -> dict[str, str]:
    """The variables that lines for a shell set."""
    words = [shlex.split(line) for line in lines.splitlines()]
    return dict(word[1].split("=", 1) for word in words if word[0] == "export")


def _names(shell: Shell, what: str, key: str, name: str) -> list[str]:
    return [each[name] for each in shell.document("access", what, "list")[key]]


def test_users_come_and_go(shell: Shell) -> None:
    shell.ok("access", "user", "create", "ann")
    assert "ann" in _names(shell, "user", "users", "userName")
    assert "ann" in shell.ok("access", "user", "list")
    shell.ok("access", "user", "delete", "ann")
    assert "ann" not in _names(shell, "user", "users", "userName")


def test_roles_come_and_go(shell: Shell) -> None:
    shell.ok("access", "role", "create", "reader", "--description", "may look")
    assert "may look" in shell.ok("access", "role", "list")
    shell.ok("access", "role", "delete", "reader")
    assert "reader" not in _names(shell, "role", "roles", "roleName")


def test_a_policy_is_shown_as_it_was_put(shell: Shell, look: str) -> None:
    assert json.loads(shell.ok("access", "policy", "show", look)) == LOOK
    assert look in shell.ok("access", "policy", "list")
    shell.ok("access", "policy", "delete", look)
    assert look not in _names(shell, "policy", "policies", "policyName")


def test_a_key_may_do_what_its_user_may(shell: Shell, look: str) -> None:
    shell.ok("access", "user", "create", "bob")
    key = _exported(shell.ok("access", "key", "create", "bob"))
    acting = _exported(shell.ok("env")) | key
    status, why = shell.fails("describe", "nodes", env=acting)
    assert status == 1
    assert "elastic-inference:DescribeNodes" in why
    shell.ok("access", "attach", look, "--user", "bob")
    assert "user bob" in shell.ok("access", "policy", "list")
    shell.ok("describe", "nodes", env=acting)
    assert "elastic-inference:RunInstance" in shell.fails("launch", env=acting)[1]
    key_id = key["AWS_ACCESS_KEY_ID"]
    shell.ok("access", "key", "disable", key_id)
    assert shell.fails("describe", "nodes", env=acting)[0] == 1
    shell.ok("access", "key", "enable", key_id)
    shell.ok("describe", "nodes", env=acting)
    shell.ok("access", "detach", look, "--user", "bob")
    assert shell.fails("describe", "nodes", env=acting)[0] == 1
    listed = shell.document("access", "key", "list", "--user", "bob")["accessKeys"]
    assert [each["accessKeyId"] for each in listed] == [key_id]
    shell.ok("access", "key", "delete", key_id)
    assert key_id not in shell.ok("access", "key", "list")


def test_a_role_is_assumed(shell: Shell, look: str) -> None:
    shell.ok("access", "role", "create", "looker")
    shell.ok("access", "attach", look, "--role", "looker")
    lines = shell.ok("access", "role", "assume", "looker", "--duration", "15min")
    acting = _exported(shell.ok("env")) | _exported(lines)
    assert acting["AWS_SESSION_TOKEN"]
    shell.ok("describe", "nodes", env=acting)
    assert "elastic-inference:RunInstance" in shell.fails("launch", env=acting)[1]
    same = shell.document("access", "role", "assume", "looker")["credentials"]
    assert same["expiration"]
    acting = _exported(shell.ok("env", "--role", "looker"))
    shell.ok("describe", "nodes", env=acting)
    assert shell.fails("launch", env=acting)[0] == 1


def test_an_aws_identity_gets_a_role(shell: Shell, look: str, sts: str) -> None:
    refused = shell.fails("access", "aws", "login", env=AWS)
    assert refused[0] == 1
    assert "ei access aws allow" in refused[1]
    shell.ok("access", "role", "create", "cloud")
    shell.ok("access", "attach", look, "--role", "cloud")
    shell.ok("access", "aws", "allow", ROLE, "cloud")
    assert shell.document("access", "aws", "list")["mappings"] == [
        {"awsArn": ROLE, "roleName": "cloud"}
    ]
    environment = _exported(shell.ok("env"))
    lines = shell.ok("access", "aws", "login", env={**AWS, "AWS_ENDPOINT_URL_STS": sts})
    shell.ok("describe", "nodes", env=environment | _exported(lines))
    # As from a machine that has no pointer.
    elsewhere = {**AWS, "AWS_ENDPOINT_URL_STS": sts, "EI_HOME": str(shell.home / "other")}
    endpoint = environment["AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME"]
    words = ("--endpoint", endpoint, "--ca", environment["AWS_CA_BUNDLE"])
    answer = shell.document("access", "aws", "login", *words, env=elsewhere)
    assert answer["roleName"] == "cloud"
    assert "No pool is known" in shell.fails("access", "aws", "login", env=elsewhere)[1]
    shell.ok("access", "aws", "deny", ROLE)
    assert shell.document("access", "aws", "list")["mappings"] == []


def test_a_role_without_connect_is_told_the_missing_action(shell: Shell) -> None:
    shell.ok("access", "role", "create", "nothing")
    instance = shell.launch("--accelerator", "eia1.medium", "--role", "nothing")
    script = "import elastic_inference; elastic_inference.connect()"
    done = ei(shell.home, "exec", instance, "--", sys.executable, "-c", script)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert "Unable to authenticate with accelerator" in error
    assert "[3, 16, 8]" in error
    assert "elastic-inference:Connect" in error
    validated = ei(shell.home, "validate", instance)
    assert validated.returncode == 1
    assert "WRONG  elastic-inference:Connect" in validated.stdout
    shell.ok("terminate", instance)


WRONG = [
    (("access",), "COMMAND"),
    (("access", "user"), "COMMAND"),
    (("access", "user", "create"), "NAME"),
    (("access", "user", "create", "a b/c"), "a b/c"),
    (("access", "user", "delete", "nobody"), "nobody"),
    (("access", "role", "delete", "nobody"), "nobody"),
    (("access", "role", "assume", "nobody"), "nobody"),
    (("access", "role", "assume", "elastic-inference", "--duration", "1min"), "900"),
    (("access", "role", "assume", "elastic-inference", "--duration", "long"), "--duration"),
    (("access", "policy", "put", "p", "/no/such"), "/no/such"),
    (("access", "policy", "show", "none"), "none"),
    (("access", "attach", "none", "--role", "elastic-inference"), "none"),
    (("access", "attach", "none"), "--role --user"),
    (("access", "attach", "none", "--role", "a", "--user", "b"), "not allowed with"),
    (("access", "key", "create", "nobody"), "nobody"),
    (("access", "key", "disable", "AKIA0"), "AKIA0"),
    (("access", "aws", "allow", "arn:nonsense", "elastic-inference"), "arn:nonsense"),
    (("access", "aws", "deny", "arn:aws:iam::123456789012:role/x"), "role/x"),
    (("access", "aws", "login"), "no AWS credentials"),
    (("env", "--role", "nobody"), "nobody"),
]


def test_wrong_usage_is_told_in_a_line(shell: Shell) -> None:
    for words, why in WRONG:
        _, line = shell.fails(*words)
        assert why in line, (words, line)


def test_a_mistake_in_a_policy_is_named_by_its_place(shell: Shell) -> None:
    file = shell.home / "wrong.json"
    file.write_text('{"Version": "2012-10-17",\n "Statement": [{"Effect": "Permit"}]}')
    status, why = shell.fails("access", "policy", "put", "wrong", str(file))
    assert status == 2
    assert "Effect" in why
    assert "line 2" in why
