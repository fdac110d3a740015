"""Commands about networks, security groups and endpoints."""

from __future__ import annotations

import argparse

from elastic_inference.cli.commands import Commands, add_output

_NETWORK_DESCRIPTION = """\
An instance reaches its accelerators through an endpoint in its network: the endpoint's security
groups must let 443 in from it, its own must let that out. A new pool has a default network in
which that is so. Without a COMMAND all of it is shown.
"""
_NETWORK_EXAMPLES = """\
examples:
  ei network                                       networks, subnets, groups with rules, endpoints
  ei network allow sg-0123456789abcdef0 --direction ingress --port 443 --from 10.0.0.0/16
  ei network revoke sgr-0123456789abcdef0
  ei network endpoint create --vpc vpc-0123456789abcdef0 --subnet subnet-0123456789abcdef0 \\
    --group sg-0123456789abcdef0
"""
_RULE_EXAMPLES = """\
examples:
  ei network allow sg-0123456789abcdef0 --direction ingress --port 443 --from 10.0.0.0/16
  ei network allow sg-0123456789abcdef0 --direction egress --port 443 --to sg-0fedcba9876543210
  ei network allow sg-0123456789abcdef0 --direction egress --protocol all --to 0.0.0.0/0
"""


def add_to(commands: Commands) -> None:
    """Add them."""
    network = commands.group(
        "network", "see and change networks and rules",
        _NETWORK_DESCRIPTION, _NETWORK_EXAMPLES, need=False,
    )  # fmt: skip
    add_output(network.parser)
    _add_rules(network)
    group = network.group("group", "create and delete security groups", examples=_NETWORK_EXAMPLES)
    create = group.add("create", "create a security group", examples=_NETWORK_EXAMPLES)
    create.add_argument("name", metavar="NAME", help="its name")
    create.add_argument("--vpc", metavar="VPC", help="its network (default: the default one)")
    create.add_argument("--description", default="", metavar="TEXT", help="what it is for")
    _delete(group, "security group", "GROUP")
    subnet = network.group("subnet", "create and delete subnets", examples=_NETWORK_EXAMPLES)
    create = subnet.add("create", "create a subnet", examples=_NETWORK_EXAMPLES)
    create.add_argument("cidr", metavar="CIDR", help="its addresses, as 10.0.1.0/24")
    create.add_argument("--vpc", required=True, metavar="VPC", help="its network")
    create.add_argument("--zone", metavar="ZONE", help="its availability zone")
    _delete(subnet, "subnet", "SUBNET")
    vpc = network.group("vpc", "create and delete networks", examples=_NETWORK_EXAMPLES)
    create = vpc.add("create", "create a network", examples=_NETWORK_EXAMPLES)
    create.add_argument("cidr", metavar="CIDR", help="its addresses, as 10.0.0.0/16")
    _delete(vpc, "network", "VPC")
    _add_endpoints(network)


def _add_rules(network: Commands) -> None:
    allow = network.add(
        "allow", "add a rule to a security group",
        "Let a security group's members be reached, or reach others.", _RULE_EXAMPLES,
    )  # fmt: skip
    allow.add_argument("group", metavar="GROUP", help="its id, sg-...")
    allow.add_argument(
        "--direction", required=True, choices=["ingress", "egress"], help="in or out"
    )
    allow.add_argument(
        "--protocol", default="tcp", metavar="NAME", help="tcp, udp, icmp or all (default: tcp)"
    )
    allow.add_argument("--port", metavar="PORT", help="443, 8000-8010 or all (default: all)")
    other = allow.add_mutually_exclusive_group(required=True)
    other.add_argument(
        "--from", dest="source", metavar="CIDR|GROUP", help="who may come in (ingress)"
    )
    other.add_argument(
        "--to", dest="target", metavar="CIDR|GROUP", help="what may be reached (egress)"
    )
    revoke = network.add("revoke", "take a rule away", examples=_NETWORK_EXAMPLES)
    revoke.add_argument("rule", metavar="RULE", help="its id, sgr-... (ei network shows them)")


def _add_endpoints(network: Commands) -> None:
    endpoint = network.group(
        "endpoint", "create, change and delete endpoints", examples=_NETWORK_EXAMPLES
    )
    create = endpoint.add("create", "create an endpoint", examples=_NETWORK_EXAMPLES)
    create.add_argument("--vpc", required=True, metavar="VPC", help="its network")
    for name, what in (("subnet", "a subnet that it serves"), ("group", "a security group of it")):
        create.add_argument(
            f"--{name}", action="append", required=True, metavar=name.upper(),
            help=f"{what}, may be repeated",
        )  # fmt: skip
    modify = endpoint.add("modify", "change an endpoint", examples=_NETWORK_EXAMPLES)
    modify.add_argument("endpoint", metavar="ENDPOINT", help="its id, vpce-...")
    for name in ("subnet", "group"):
        for verb in ("add", "remove"):
            modify.add_argument(
                f"--{verb}-{name}", action="append", metavar=name.upper(),
                help=f"a {name} to {verb}, may be repeated",
            )  # fmt: skip
    modify.add_argument(
        "--private-dns", action=argparse.BooleanOptionalAction, help="have its name resolved"
    )
    _delete(endpoint, "endpoint", "ENDPOINT")


def _delete(commands: Commands, what: str, metavar: str) -> None:
    delete = commands.add(
        "delete", f"delete a{'n' if what[0] in 'aeiou' else ''} {what}", examples=_NETWORK_EXAMPLES
    )
    delete.add_argument("id", metavar=metavar, help="its id")
