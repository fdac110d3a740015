"""What keeps an instance from an endpoint, and rules as users write them."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.control.network_input import (
    parse_cidr,
    parse_ports,
    parse_protocol,
    parse_rule,
    parse_subnet_cidr,
    parse_vpc_cidr,
)
from elastic_inference.control.network_rules import (
    Endpoint,
    Obstacle,
    Rule,
    SecurityGroup,
    Subnet,
    Vpc,
    obstacles,
    reached,
)
from elastic_inference.errors import InvalidRequestError

SUBNET = Subnet("subnet-1", "vpc-1", "10.0.1.0/24", "us-east-1a")
OTHER_SUBNET = Subnet("subnet-2", "vpc-1", "10.0.2.0/24", "us-east-1b")
IN = Rule("ingress", "tcp", 443, 443, cidr="10.0.0.0/16")
ENDPOINT = Endpoint("vpce-1", "vpc-1", ("subnet-1",), ("sg-e",))
ADDRESS = "10.0.1.7"


def between(
    *,
    ingress: tuple[Rule, ...] = (IN,),
    egress: tuple[Rule, ...] | None = None,
    endpoint: Endpoint | None = ENDPOINT,
    groups: tuple[str, ...] = ("sg-i",),
    address: str = ADDRESS,
    **options: Any,
) -> list[Obstacle]:
    """The obstacles of an instance in SUBNET, all well unless told otherwise."""
    instance = SecurityGroup("sg-i", "vpc-1", "instances")
    if egress is not None:
        instance = dataclasses.replace(instance, rules=egress)
    known = {"sg-i": instance, "sg-e": SecurityGroup("sg-e", "vpc-1", "endpoints", ingress)}
    endpoints = [] if endpoint is None else [endpoint]
    return obstacles(SUBNET, groups, address, endpoints, known, **options)


def codes(found: list[Obstacle]) -> list[str]:
    return [each.code for each in found]


def test_nothing_keeps_an_instance_that_has_all() -> None:
    assert between() == []


@pytest.mark.parametrize(
    ("rule", "well"),
    [
        (IN, True),
        (Rule("ingress", "tcp", 443, 443, cidr=f"{ADDRESS}/32"), True),
        (Rule("ingress", "tcp", 0, 65535, cidr="0.0.0.0/0"), True),
        (Rule("ingress", "-1", 0, 65535, cidr="0.0.0.0/0"), True),
        (Rule("ingress", "-1", -1, -1, cidr="0.0.0.0/0"), True),
        (Rule("ingress", "tcp", 443, 443, source_group="sg-i"), True),
        (Rule("ingress", "tcp", 443, 443, source_group="sg-e"), False),
        (Rule("ingress", "tcp", 443, 443, cidr="10.0.2.0/24"), False),
        (Rule("ingress", "tcp", 443, 443, cidr="::/0"), False),
        (Rule("ingress", "tcp", 444, 500, cidr="0.0.0.0/0"), False),
        (Rule("ingress", "udp", 443, 443, cidr="0.0.0.0/0"), False),
        (Rule("egress", "tcp", 443, 443, cidr="0.0.0.0/0"), False),
    ],
)
def test_what_an_endpoints_group_lets_in(rule: Rule, well: bool) -> None:
    found = between(ingress=(rule,))
    assert codes(found) == ([] if well else ["endpoint-ingress"])


def test_a_rule_that_is_missing_is_named_with_its_command() -> None:
    (found,) = between(ingress=())
    assert found.message == (
        "No security group of the endpoint vpce-1 (sg-e) lets TCP port 443 in from 10.0.1.7 or "
        "members of sg-i."
    )
    assert found.fix == "ei network allow sg-e --direction ingress --port 443 --from sg-i"
    assert found.blocking


@pytest.mark.parametrize(
    ("rule", "well"),
    [
        (Rule("egress", "tcp", 443, 443, cidr="10.0.0.0/8"), True),
        (Rule("egress", "tcp", 443, 443, cidr="10.0.1.0/24"), True),
        (Rule("egress", "tcp", 443, 443, source_group="sg-e"), True),
        (Rule("egress", "tcp", 443, 443, source_group="sg-i"), False),
        (Rule("egress", "tcp", 443, 443, cidr="10.0.1.9/32"), False),
        (Rule("egress", "tcp", 80, 80, cidr="0.0.0.0/0"), False),
        (IN, False),
    ],
)
def test_what_an_instances_group_lets_out(rule: Rule, well: bool) -> None:
    found = between(egress=(rule,))
    assert codes(found) == ([] if well else ["instance-egress"])
    for each in found:
        assert "sg-i" in each.message
        assert "vpce-1" in each.message
        assert each.fix == "ei network allow sg-i --direction egress --port 443 --to sg-e"


def test_an_endpoints_known_address_is_enough() -> None:
    endpoint = dataclasses.replace(ENDPOINT, addresses=("10.0.1.9",))
    rule = Rule("egress", "tcp", 443, 443, cidr="10.0.1.9/32")
    assert between(endpoint=endpoint, egress=(rule,)) == []


def test_no_endpoint_in_the_network() -> None:
    elsewhere = dataclasses.replace(ENDPOINT, vpc_id="vpc-2")
    for endpoint in (None, elsewhere):
        (found,) = between(endpoint=endpoint)
        assert found.code == "no-endpoint"
        assert "vpc-1" in found.message
        assert "subnet-1" in found.message
        assert found.fix == (
            "ei network endpoint create --vpc vpc-1 --subnet subnet-1 --group sg-i"
        )
    (other_service,) = between(service="com.amazonaws.us-east-1.other")
    assert other_service.code == "no-endpoint"


def test_an_endpoint_in_another_subnet() -> None:
    (found,) = between(endpoint=dataclasses.replace(ENDPOINT, subnet_ids=(OTHER_SUBNET.id,)))
    assert found.code == "endpoint-subnet"
    assert found.fix == "ei network endpoint modify vpce-1 --add-subnet subnet-1"


def test_an_endpoint_that_is_not_available() -> None:
    (found,) = between(endpoint=dataclasses.replace(ENDPOINT, state="pending"))
    assert found.code == "endpoint-state"
    assert "vpce-1 is pending" in found.message


def test_all_that_is_missing_is_told() -> None:
    endpoint = dataclasses.replace(ENDPOINT, group_ids=(), state="deleting", private_dns=False)
    found = between(endpoint=endpoint, egress=())
    assert codes(found) == ["endpoint-state", "endpoint-ingress", "instance-egress", "private-dns"]
    assert [each.blocking for each in found] == [True, True, True, False]
    assert "--add-group sg-i" in found[1].fix


def test_without_private_dns_an_instance_may_come_in() -> None:
    (note,) = between(endpoint=dataclasses.replace(ENDPOINT, private_dns=False))
    assert note.code == "private-dns"
    assert not note.blocking


@pytest.mark.parametrize("lacks", ["enableDnsSupport", "enableDnsHostnames"])
def test_a_network_without_names_is_told(lacks: str) -> None:
    (note,) = between(endpoint=dataclasses.replace(ENDPOINT, dns_lacks=lacks))
    assert (note.code, note.blocking) == ("private-dns", False)
    assert lacks in note.message
    option = {"enableDnsSupport": "support", "enableDnsHostnames": "hostnames"}[lacks]
    assert note.fix == (
        f"aws ec2 modify-vpc-attribute --vpc-id vpc-1 --enable-dns-{option} Value=true"
    )


def test_the_endpoints_that_are_reached() -> None:
    groups = {
        "sg-i": SecurityGroup("sg-i", "vpc-1", "instances"),
        "sg-e": SecurityGroup("sg-e", "vpc-1", "endpoints", (IN,)),
    }
    closed = dataclasses.replace(ENDPOINT, id="vpce-2", group_ids=("sg-i",))
    elsewhere = dataclasses.replace(ENDPOINT, id="vpce-3", vpc_id="vpc-2")
    nameless = dataclasses.replace(ENDPOINT, id="vpce-4", private_dns=False)
    endpoints = (ENDPOINT, closed, elsewhere, nameless)
    found = reached(SUBNET, ("sg-i",), ADDRESS, endpoints, groups)
    assert [each.id for each in found] == ["vpce-1", "vpce-4"]


def test_an_instance_needs_a_security_group_that_is_there() -> None:
    (none,) = between(groups=())
    assert none.code == "instance-group"
    (gone,) = between(groups=("sg-gone",))
    assert gone.code == "instance-group"
    assert "sg-gone" in gone.message
    closed = between(groups=(), ingress=())
    assert closed[0].fix.endswith(f"--from {ADDRESS}/32")


def test_the_endpoint_that_serves_best_counts() -> None:
    closed = dataclasses.replace(ENDPOINT, id="vpce-0", state="deleting", group_ids=())
    known = {
        "sg-i": SecurityGroup("sg-i", "vpc-1", "instances"),
        "sg-e": SecurityGroup("sg-e", "vpc-1", "endpoints", (IN,)),
    }
    for order in ([closed, ENDPOINT], [ENDPOINT, closed]):
        assert obstacles(SUBNET, ["sg-i"], ADDRESS, order, known) == []


def test_addresses_of_both_families() -> None:
    six = Rule("ingress", "tcp", 443, 443, cidr="2001:db8::/32")
    assert codes(between(ingress=(six,), address="2001:db8::7")) == []
    assert codes(between(ingress=(IN,), address="2001:db8::7")) == ["endpoint-ingress"]
    assert codes(between(ingress=(IN,), address=f"::ffff:{ADDRESS}")) == []


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"direction": "ingress", "protocol": "tcp", "fromPort": 443, "toPort": 443,
          "cidr": "10.1.2.3/8"}, Rule("ingress", "tcp", 443, 443, cidr="10.0.0.0/8")),
        ({"groupId": "sg-1", "direction": "egress", "protocol": "6", "fromPort": 80,
          "cidr": "::/0"}, Rule("egress", "tcp", 80, 80, cidr="::/0")),
        ({"direction": "egress", "cidr": "0.0.0.0/0"},
         Rule("egress", "tcp", 0, 65535, cidr="0.0.0.0/0")),
        ({"direction": "ingress", "protocol": "ALL", "sourceGroup": "sg-0123456789abcdef0"},
         Rule("ingress", "-1", 0, 65535, source_group="sg-0123456789abcdef0")),
        ({"direction": "ingress", "protocol": "icmp", "fromPort": -1, "toPort": -1,
          "cidr": "0.0.0.0/0"}, Rule("ingress", "icmp", -1, -1, cidr="0.0.0.0/0")),
        ({"direction": "ingress", "protocol": "tcp", "fromPort": -1, "toPort": -1,
          "cidr": "0.0.0.0/0"}, Rule("ingress", "tcp", 0, 65535, cidr="0.0.0.0/0")),
    ],
)  # fmt: skip
def test_rules_are_read(fields: dict[str, Any], rule: Rule) -> None:
    assert parse_rule(fields) == rule


RULE = {"direction": "ingress", "protocol": "tcp", "fromPort": 443, "cidr": "10.0.0.0/8"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"direction": "in"}, "direction must be ingress or egress"),
        ({"direction": None}, "direction must be"),
        ({"direction": 1}, "direction must be a text"),
        ({"protocol": "https"}, "protocol is unknown: 'https'"),
        ({"protocol": "256"}, "protocol is unknown"),
        ({"fromPort": "443"}, "fromPort must be a whole number"),
        ({"fromPort": True}, "fromPort must be a whole number"),
        ({"fromPort": 65536}, "fromPort must be a whole number"),
        ({"toPort": 442}, "toPort is 442, less than fromPort"),
        ({"fromPort": None, "toPort": 443}, "fromPort is needed"),
        ({"cidr": "10.0.0.1"}, "Write 10.0.0.1/32"),
        ({"cidr": "10.0.0.0/33"}, "cidr is no CIDR block"),
        ({"cidr": "10.0.0.0/255.0.0.0"}, "cidr is no CIDR block"),
        ({"cidr": "fe80::1%eth0/64"}, "cidr is no CIDR block"),
        ({"cidr": None}, "cidr or sourceGroup is needed"),
        ({"sourceGroup": "sg-00000000"}, "not both"),
        ({"cidr": None, "sourceGroup": "default"}, "sourceGroup is no security group's id"),
        ({"ports": 1}, "ports is no field"),
    ],
)
def test_rules_that_are_wrong_are_named(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        parse_rule(RULE | changes)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("text", "ports"),
    [("443", (443, 443)), ("8000-8010", (8000, 8010)), ("all", (0, 65535)), ("-1", (0, 65535))],
)
def test_ports_are_read(text: str, ports: tuple[int, int]) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize("text", ["", "https", "2-1", "65536", "1-", "-", "1-70000", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="port is no port or range"):
        parse_ports(text)


def test_protocols_have_one_form() -> None:
    for text, name in {"TCP": "tcp", "17": "udp", "58": "icmpv6", "047": "47", "all": "-1"}.items():
        assert parse_protocol(text) == name


def test_networks_and_subnets() -> None:
    vpc = Vpc("vpc-1", parse_vpc_cidr("10.0.0.0/16"))
    assert parse_subnet_cidr("10.0.3.9/24", vpc, [SUBNET]) == "10.0.3.0/24"
    for text, why in {
        "10.0.1.128/25": "overlaps 10.0.1.0/24, that of subnet-1",
        "10.1.0.0/24": "not within 10.0.0.0/16, that of vpc-1",
        "10.0.0.0/29": "from /16 to /28",
        "2001:db8::/24": "must be IPv4",
        "10.0.0": "Write a network",
    }.items():
        with pytest.raises(InvalidRequestError, match=why):
            parse_subnet_cidr(text, vpc, [SUBNET, Subnet("subnet-x", "vpc-2", "10.0.3.0/24")])


@given(st.ip_addresses(), st.integers(0, 140))
def test_networks_are_read_as_the_standard_library_reads_them(address: Any, bits: int) -> None:
    text = f"{address}/{bits}"
    if bits <= address.max_prefixlen:
        assert parse_cidr(text, "cidr") == str(ipaddress.ip_network(text, strict=False))
    else:
        with pytest.raises(InvalidRequestError):
            parse_cidr(text, "cidr")


@given(st.dictionaries(
    st.sampled_from(["direction", "protocol", "fromPort", "toPort", "cidr", "sourceGroup"]),
    st.sampled_from(["ingress", "tcp", "10.0.0.0/8", "sg-00000000"])
    | st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
))  # fmt: skip
def test_any_fields_are_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        rule = parse_rule(fields)
    except InvalidRequestError:
        return
    assert obstacles(
        SUBNET, [], ADDRESS, [ENDPOINT], {"sg-e": SecurityGroup("sg-e", "vpc-1", "x", (rule,))}
    )
