"""`ei network`: networks, subnets, security groups and endpoints."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

from elastic_inference.cli.connection import pool
from elastic_inference.cli.output import table
from elastic_inference.errors import InvalidRequestError

Document = dict[str, Any]
# The operation of each `… delete`, and the name of the id that it takes.
_DELETE = {
    "group": ("DeleteSecurityGroup", "groupId"),
    "subnet": ("DeleteSubnet", "subnetId"),
    "vpc": ("DeleteVpc", "vpcId"),
    "endpoint": ("DeleteEndpoint", "endpointId"),
}


def main(options: argparse.Namespace) -> int:
    words = options.path.removeprefix("network").strip()
    kind, _, action = words.partition(" ")
    if action == "delete":
        operation, field = _DELETE[kind]
        pool().call(operation, {field: options.id})
        print(f"{options.id} is gone")
    else:
        _ACTIONS[words](options)
    return 0


def _show(options: argparse.Namespace) -> None:
    answer = pool().call("DescribeNetwork", {})
    if options.output == "json":
        print(json.dumps(answer, indent=2))
        return
    tables = (_vpcs(answer), _subnets(answer), _rules(answer), _endpoints(answer))
    print("\n\n".join(tables))


def _vpcs(answer: Document) -> str:
    return table(
        ("NETWORK", "ADDRESSES", "DEFAULT"),
        [(each["vpcId"], each["cidr"], _yes(each["isDefault"])) for each in answer["vpcs"]],
    )


def _subnets(answer: Document) -> str:
    return table(
        ("SUBNET", "NETWORK", "ADDRESSES", "ZONE", "DEFAULT"),
        [
            (each["subnetId"], each["vpcId"], each["cidr"], each["zone"], _yes(each["isDefault"]))
            for each in answer["subnets"]
        ],
    )


def _rules(answer: Document) -> str:
    rows = []
    for group in answer["securityGroups"]:
        own = (group["groupId"], group["name"], group["vpcId"])
        # A group without rules is one that lets nothing through, and is shown too.
        rows += [(*own, *_rule(each)) for each in group["rules"]] or [(*own, *("-",) * 5)]
    return table(
        ("GROUP", "NAME", "NETWORK", "RULE", "DIRECTION", "PROTOCOL", "PORTS", "FROM OR TO"), rows
    )


def _rule(rule: Document) -> tuple[str, ...]:
    first, last = rule["fromPort"], rule["toPort"]
    everything = rule["protocol"] == "-1" or first == -1 or (first, last) == (0, 65535)
    ports = "all" if everything else str(first) if first == last else f"{first}-{last}"
    protocol = "all" if rule["protocol"] == "-1" else rule["protocol"]
    other = rule["cidr"] or rule["sourceGroup"]
    return rule["ruleId"], rule["direction"], protocol, ports, other


def _endpoints(answer: Document) -> str:
    return table(
        ("ENDPOINT", "NETWORK", "STATE", "SUBNETS", "GROUPS", "PRIVATE DNS"),
        [
            (
                each["endpointId"],
                each["vpcId"],
                each["state"],
                ",".join(each["subnetIds"]) or "-",
                ",".join(each["securityGroupIds"]) or "-",
                _yes(each["privateDns"]),
            )
            for each in answer["endpoints"]
        ],
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _allow(options: argparse.Namespace) -> None:
    incoming = options.direction == "ingress"
    other = options.source if incoming else options.target
    if other is None:
        fits, not_ = ("--from", "--to") if incoming else ("--to", "--from")
        raise InvalidRequestError(
            f"A rule for {options.direction} has {fits}, not {not_}.",
            next_step=f"Write --direction {options.direction} {fits} CIDR or GROUP.",
        )
    first, last = _ports(options)
    asked: Document = {
        "groupId": options.group,
        "direction": options.direction,
        "protocol": options.protocol,
        "sourceGroup" if other.startswith("sg-") else "cidr": other,
    }
    if first is not None:
        asked |= {"fromPort": first, "toPort": last}
    print(pool().call("AuthorizeRule", asked)["ruleId"])


def _ports(options: argparse.Namespace) -> tuple[int | None, int | None]:
    if options.port is None or options.port == "all":
        return None, None
    first, _, last = options.port.partition("-")
    last = last or first
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise InvalidRequestError(
            f"--port {options.port[:64]!r} is no port.",
            next_step="Write 443, 8000-8010 or all.",
        )
    return int(first[:6]), int(last[:6])


def _revoke(options: argparse.Namespace) -> None:
    pool().call("RevokeRule", {"ruleId": options.rule})
    print(f"{options.rule} is gone")


def _create(operation: str, key: str, **fields: Any) -> None:
    given = {name: value for name, value in fields.items() if value}
    print(pool().call(operation, given)[key])


def _modify_endpoint(options: argparse.Namespace) -> None:
    asked = {
        "addSubnetIds": options.add_subnet,
        "removeSubnetIds": options.remove_subnet,
        "addSecurityGroupIds": options.add_group,
        "removeSecurityGroupIds": options.remove_group,
        "privateDns": options.private_dns,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if not given:
        raise InvalidRequestError(
            "There is nothing to change.", next_step="See ei network endpoint modify --help."
        )
    pool().call("ModifyEndpoint", given | {"endpointId": options.endpoint})
    print(f"{options.endpoint} is changed")


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "": _show,
    "allow": _allow,
    "revoke": _revoke,
    "group create": lambda options: _create(
        "CreateSecurityGroup", "groupId",
        name=options.name, vpcId=options.vpc, description=options.description,
    ),
    "subnet create": lambda options: _create(
        "CreateSubnet", "subnetId", cidr=options.cidr, vpcId=options.vpc, zone=options.zone
    ),
    "vpc create": lambda options: _create("CreateVpc", "vpcId", cidr=options.cidr),
    "endpoint create": lambda options: _create(
        "CreateEndpoint", "endpointId",
        vpcId=options.vpc, subnetIds=options.subnet, securityGroupIds=options.group,
    ),
    "endpoint modify": _modify_endpoint,
}  # fmt: skip
