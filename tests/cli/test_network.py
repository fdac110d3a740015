"""`ei network` at the command line: rules count, and every fix that is told mends."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from elastic_inference.cli.main import parse
from elastic_inference.control.network_rules import Endpoint, SecurityGroup, Subnet, obstacles
from tests.cli.pool import Shell, shared
from tests.pools import ei

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with shared() as made:
        yield made


def _wrong(shell: Shell, instance: str) -> list[dict[str, Any]]:
    """The checks of an instance that tell of something to mend."""
    done = ei(shell.home, "validate", instance, "-o", "json")
    (found,) = json.loads(done.stdout)["instances"]
    return [each for each in found["checks"] if each["fix"]]


def _mend(shell: Shell, instance: str, most: int = 5) -> list[str]:
    """Type the fixes that are told until none is; those that were typed."""
    typed: list[str] = []
    while wrong := _wrong(shell, instance):
        assert len(typed) < most, wrong
        typed.append(wrong[0]["fix"])
        shell.ok(*shlex.split(typed[-1])[1:])
    return typed


def test_all_of_a_network_is_shown(shell: Shell) -> None:
    known = shell.document("network")
    text = shell.ok("network")
    for key, name in (
        ("vpcs", "vpcId"), ("subnets", "subnetId"), ("securityGroups", "groupId"),
        ("endpoints", "endpointId"),
    ):  # fmt: skip
        assert known[key]
        assert all(each[name] in text for each in known[key])
    assert text.count("NETWORK  ") >= 1
    for heading in ("SUBNET", "GROUP", "RULE", "ENDPOINT"):
        assert heading in text


def test_a_network_is_made_and_taken_away(shell: Shell) -> None:
    vpc = shell.ok("network", "vpc", "create", "10.9.0.0/16").strip()
    subnet = shell.ok("network", "subnet", "create", "10.9.1.0/24", "--vpc", vpc).strip()
    group = shell.ok("network", "group", "create", "web", "--vpc", vpc).strip()
    endpoint = shell.ok(
        "network", "endpoint", "create", "--vpc", vpc, "--subnet", subnet, "--group", group
    ).strip()
    other = shell.ok("network", "subnet", "create", "10.9.2.0/24", "--vpc", vpc).strip()
    shell.ok(
        "network", "endpoint", "modify", endpoint, "--add-subnet", other, "--remove-subnet", subnet,
        "--no-private-dns",
    )  # fmt: skip
    (found,) = [
        each for each in shell.document("network")["endpoints"] if each["endpointId"] == endpoint
    ]
    assert (found["subnetIds"], found["privateDns"]) == ([other], False)
    for words in (("endpoint", endpoint), ("subnet", subnet), ("subnet", other), ("group", group),
                  ("vpc", vpc)):  # fmt: skip
        assert shell.ok("network", words[0], "delete", words[1]) == f"{words[1]} is gone\n"
    assert vpc not in shell.ok("network")


def test_rules_are_added_and_revoked(shell: Shell) -> None:
    group = shell.ok("network", "group", "create", "rules").strip()
    ranges = {"8000-8010": (8000, 8010), "all": (0, 65535), "53": (53, 53)}
    for port, expected in ranges.items():
        words = ("--direction", "ingress", "--protocol", "udp", "--port", port)
        rule = shell.ok("network", "allow", group, *words, "--from", "10.0.0.0/8").strip()
        (found,) = [each for each in _rules(shell, group) if each["ruleId"] == rule]
        assert (found["fromPort"], found["toPort"], found["cidr"]) == (*expected, "10.0.0.0/8")
        shell.ok("network", "revoke", rule)
        assert rule not in [each["ruleId"] for each in _rules(shell, group)]
    shell.ok("network", "group", "delete", group)


def _rules(shell: Shell, group: str) -> list[dict[str, Any]]:
    groups = shell.document("network")["securityGroups"]
    (found,) = [each for each in groups if each["groupId"] == group]
    rules: list[dict[str, Any]] = found["rules"]
    return rules


def test_the_fixes_that_validate_tells_mend_all(shell: Shell) -> None:
    known = shell.document("network")
    instance = shell.launch("--accelerator", "eia1.medium")
    (endpoint,) = known["endpoints"]
    for group in endpoint["securityGroupIds"]:
        for rule in _rules(shell, group):
            shell.ok("network", "revoke", rule["ruleId"])
    (described,) = shell.document("describe", "instances", "--instance", instance)["instances"]
    for group in described["securityGroupIds"]:
        for rule in _rules(shell, group):
            shell.ok("network", "revoke", rule["ruleId"])
    fixes = _mend(shell, instance)
    assert len(fixes) == 2
    assert all(each.startswith("ei network allow") for each in fixes)
    shell.ok("network", "endpoint", "modify", endpoint["endpointId"], "--no-private-dns")
    assert len(_mend(shell, instance)) == 1
    shell.ok("network", "endpoint", "delete", endpoint["endpointId"])
    assert _mend(shell, instance)[0].startswith("ei network endpoint create")
    shell.ok("terminate", instance)


SUBNET = Subnet("subnet-1", "vpc-1", "10.0.1.0/24")
OTHER = Subnet("subnet-2", "vpc-1", "10.0.2.0/24")
GROUPS = {
    "sg-11111111": SecurityGroup("sg-11111111", "vpc-1", "instance", ()),
    "sg-22222222": SecurityGroup("sg-22222222", "vpc-1", "endpoint", ()),
}


@pytest.mark.parametrize("instance_groups", [(), ("sg-11111111",), ("sg-99999999",)])
@pytest.mark.parametrize(
    "endpoints",
    [
        [],
        [Endpoint("vpce-1", "vpc-1", ("subnet-1",), ("sg-22222222",))],
        [Endpoint("vpce-1", "vpc-1", ("subnet-2",), (), state="pending", private_dns=False)],
    ],
)
def test_every_fix_is_a_command(
    instance_groups: Sequence[str], endpoints: Sequence[Endpoint]
) -> None:
    found = obstacles(SUBNET, instance_groups, "10.0.1.5", endpoints, GROUPS)
    assert found
    for each in found:
        words = shlex.split(each.fix)
        assert words[0] == "ei"
        assert parse(words[1:]).command in {"network", "launch"}


WRONG = [
    (("network", "nothing"), "nothing"),
    (("network", "allow"), "GROUP"),
    (("network", "allow", "sg-1", "--direction", "up", "--from", "10.0.0.0/8"), "up"),
    (("network", "allow", "sg-1", "--direction", "ingress", "--port", "443"), "--from --to"),
    (
        ("network", "allow", "sg-1", "--direction", "ingress", "--to", "10.0.0.0/8"),
        "ingress has --from",
    ),
    (
        ("network", "allow", "sg-1", "--direction", "egress", "--from", "10.0.0.0/8"),
        "egress has --to",
    ),
    (
        ("network", "allow", "sg-1", "--direction", "ingress", "--port", "x", "--from", "::/0"),
        "--port 'x'",
    ),
    (
        ("network", "allow", "sg-1", "--direction", "ingress", "--port", "70000", "--from", "::/0"),
        "65535",
    ),
    (("network", "allow", "sg-1", "--direction", "ingress", "--from", "nowhere"), "nowhere"),
    (
        ("network", "allow", "sg-12345678", "--direction", "ingress", "--from", "::/0"),
        "sg-12345678",
    ),
    (("network", "revoke", "sgr-0"), "sgr-0"),
    (("network", "vpc", "create", "10.0.0.0/8"), "/16 to /28"),
    (("network", "subnet", "create", "10.0.0.0/24"), "--vpc"),
    (("network", "subnet", "create", "10.0.0.0/24", "--vpc", "vpc-0"), "vpc-0"),
    (("network", "group", "delete", "sg-0"), "sg-0"),
    (("network", "endpoint", "create", "--vpc", "vpc-0"), "--subnet"),
    (("network", "endpoint", "modify", "vpce-0"), "nothing to change"),
    (("network", "endpoint", "modify", "vpce-0", "--private-dns"), "vpce-0"),
]


def test_wrong_usage_is_told_in_a_line(shell: Shell) -> None:
    for words, why in WRONG:
        _, line = shell.fails(*words)
        assert why in line, (words, line)
