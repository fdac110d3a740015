"""Networks, security groups and endpoints, and what keeps an instance from an endpoint.

As in AWS: a group lets in and out what one of its rules names, an instance or endpoint may do what
any of its groups allows, and answers to what was let through need no rule.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from elastic_inference.control.reachable import without_mapping

Direction: TypeAlias = Literal["ingress", "egress"]
ALL = "-1"
TCP = "tcp"
HIGHEST_PORT = 65535
AVAILABLE = "available"


@dataclass(frozen=True, slots=True)
class Vpc:
    """A network."""

    id: str
    cidr: str


@dataclass(frozen=True, slots=True)
class Subnet:
    """A part of a network."""

    id: str
    vpc_id: str
    cidr: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a security group lets through: to or from a network, or the members of a group.

    Attributes:
        protocol: tcp, udp, icmp, icmpv6, another's number, or -1 for all.
        from_port: the first port; -1 where the protocol has none.
        cidr: a network; "" where `source_group` is set.
        source_group: the id of the group whose members are meant, in both directions.
    """

    direction: Direction
    protocol: str
    from_port: int
    to_port: int
    cidr: str = ""
    source_group: str = ""
    id: str = ""

    def covers(self, direction: Direction, port: int) -> bool:
        """Whether it speaks of TCP connections to that port."""
        if self.direction != direction:
            return False
        # Without a protocol ports are not looked at, whatever they say.
        if self.protocol == ALL:
            return True
        return self.protocol == TCP and self.from_port <= port <= self.to_port

    def reaches(self, network: str, groups: Iterable[str]) -> bool:
        """Whether it speaks of all of that network (or one address), or of one of those groups."""
        if self.source_group:
            return self.source_group in groups
        return _within(network, self.cidr)


EVERYTHING_OUT = (
    Rule("egress", ALL, 0, HIGHEST_PORT, cidr="0.0.0.0/0"),
    Rule("egress", ALL, 0, HIGHEST_PORT, cidr="::/0"),
)
"""The rules that a new security group has."""


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A set of rules."""

    id: str
    vpc_id: str
    name: str
    rules: tuple[Rule, ...] = EVERYTHING_OUT
    description: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a network reaches a service.

    Attributes:
        service: as com.amazonaws.us-east-1.elastic-inference.runtime; "" for the pool's own.
        addresses: its addresses in its subnets, where they are known.
        policy: who may do what through it, a JSON text; None: everybody everything.
        dns_lacks: the network's attribute without which no private name is resolved; "" where
            it has them all.
    """

    id: str
    vpc_id: str
    subnet_ids: tuple[str, ...]
    group_ids: tuple[str, ...]
    state: str = AVAILABLE
    private_dns: bool = True
    service: str = ""
    addresses: tuple[str, ...] = ()
    policy: str | None = None
    dns_lacks: str = ""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something between an instance and an endpoint.

    Attributes:
        code: a word for programs: no-endpoint, endpoint-subnet, endpoint-state, endpoint-ingress,
            instance-group, instance-egress or private-dns.
        message: what is missing, and where.
        fix: the command that mends it.
        blocking: it keeps the instance out; else it is to be known only.
    """

    code: str
    message: str
    fix: str
    blocking: bool = True


def obstacles(
    instance_subnet: Subnet,
    instance_groups: Sequence[str],
    instance_ip: str,
    endpoints: Iterable[Endpoint],
    groups: Mapping[str, SecurityGroup],
    port: int = 443,
    service: str = "",
) -> list[Obstacle]:
    """What keeps an instance from the endpoint that is nearest to serving it; notes come last.

    Args:
        instance_groups: ids of the instance's security groups.
        endpoints: all of them; those of other networks and services do not count.
        groups: all security groups by their ids.
        service: the service meant; any if "".
    """
    side = _Side(instance_subnet, tuple(instance_groups), without_mapping(instance_ip), port)
    found = _judged(side, endpoints, groups, service)
    if not found:
        return [_no_endpoint(side)]
    return min(found.values(), key=lambda each: (sum(one.blocking for one in each), len(each)))


def reached(
    instance_subnet: Subnet,
    instance_groups: Sequence[str],
    instance_ip: str,
    endpoints: Iterable[Endpoint],
    groups: Mapping[str, SecurityGroup],
    port: int = 443,
    service: str = "",
) -> list[Endpoint]:
    """The endpoints that nothing keeps an instance from; see `obstacles`."""
    side = _Side(instance_subnet, tuple(instance_groups), without_mapping(instance_ip), port)
    found = _judged(side, endpoints, groups, service)
    return [each for each, between in found.items() if not any(one.blocking for one in between)]


def _judged(
    side: _Side, endpoints: Iterable[Endpoint], groups: Mapping[str, SecurityGroup], service: str
) -> dict[Endpoint, list[Obstacle]]:
    """The endpoints that are meant, and what is between the instance and each."""
    return {
        each: _between(side, each, groups) for each in endpoints if _is_meant(each, side, service)
    }


@dataclass(frozen=True, slots=True)
class _Side:
    subnet: Subnet
    groups: tuple[str, ...]
    address: str
    port: int


def _is_meant(endpoint: Endpoint, side: _Side, service: str) -> bool:
    return endpoint.vpc_id == side.subnet.vpc_id and service in ("", endpoint.service)


def _between(
    side: _Side, endpoint: Endpoint, groups: Mapping[str, SecurityGroup]
) -> list[Obstacle]:
    found: list[Obstacle] = []
    if side.subnet.id not in endpoint.subnet_ids:
        found.append(_other_subnet(side, endpoint))
    if endpoint.state != AVAILABLE:
        found.append(_not_available(side, endpoint))
    if not _lets_in(side, endpoint, groups):
        found.append(_no_ingress(side, endpoint))
    if not any(each in groups for each in side.groups):
        found.append(_no_group(side))
    elif not _lets_out(side, endpoint, groups):
        found.append(_no_egress(side, endpoint))
    if not endpoint.private_dns:
        found.append(_no_dns(endpoint))
    elif endpoint.dns_lacks:
        found.append(_no_dns_in_network(endpoint))
    return found


def _lets_in(side: _Side, endpoint: Endpoint, groups: Mapping[str, SecurityGroup]) -> bool:
    return any(
        rule.covers("ingress", side.port) and rule.reaches(side.address, side.groups)
        for rule in _rules(endpoint.group_ids, groups)
    )


def _lets_out(side: _Side, endpoint: Endpoint, groups: Mapping[str, SecurityGroup]) -> bool:
    # Its address in the subnet may be any where it is not known.
    targets = endpoint.addresses or (side.subnet.cidr,)
    return any(
        rule.covers("egress", side.port)
        and any(rule.reaches(target, endpoint.group_ids) for target in targets)
        for rule in _rules(side.groups, groups)
    )


def _rules(ids: Iterable[str], groups: Mapping[str, SecurityGroup]) -> Iterable[Rule]:
    return (rule for each in ids if each in groups for rule in groups[each].rules)


def _within(network: str, cidr: str) -> bool:
    inner, outer = ipaddress.ip_network(network), ipaddress.ip_network(cidr)
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


def _no_endpoint(side: _Side) -> Obstacle:
    subnet, group = side.subnet, side.groups[0] if side.groups else "GROUP"
    return Obstacle(
        "no-endpoint",
        f"The network {subnet.vpc_id} of the subnet {subnet.id} has no endpoint.",
        f"ei network endpoint create --vpc {subnet.vpc_id} --subnet {subnet.id} --group {group}",
    )


def _other_subnet(side: _Side, endpoint: Endpoint) -> Obstacle:
    return Obstacle(
        "endpoint-subnet",
        f"The endpoint {endpoint.id} is not in the instance's subnet {side.subnet.id}.",
        f"ei network endpoint modify {endpoint.id} --add-subnet {side.subnet.id}",
    )


def _not_available(side: _Side, endpoint: Endpoint) -> Obstacle:
    # A new one needs both, though this one has none.
    subnets = "".join(f" --subnet {each}" for each in endpoint.subnet_ids or (side.subnet.id,))
    own = side.groups[:1] or ("GROUP",)
    groups = "".join(f" --group {each}" for each in endpoint.group_ids or own)
    return Obstacle(
        "endpoint-state",
        f"The endpoint {endpoint.id} is {endpoint.state}, not {AVAILABLE}.",
        f"ei network endpoint create --vpc {endpoint.vpc_id}{subnets}{groups}",
    )


def _no_ingress(side: _Side, endpoint: Endpoint) -> Obstacle:
    if not endpoint.group_ids:
        group = side.groups[0] if side.groups else "GROUP"
        return Obstacle(
            "endpoint-ingress",
            f"The endpoint {endpoint.id} has no security group, so that nothing may come in.",
            f"ei network endpoint modify {endpoint.id} --add-group {group}",
        )
    return Obstacle(
        "endpoint-ingress",
        f"No security group of the endpoint {endpoint.id} ({', '.join(endpoint.group_ids)}) lets "
        f"TCP port {side.port} in from {side.address}{_members(side.groups)}.",
        f"ei network allow {endpoint.group_ids[0]} --direction ingress --port {side.port} "
        f"--from {side.groups[0] if side.groups else _host(side.address)}",
    )


def _no_group(side: _Side) -> Obstacle:
    if not side.groups:
        message = "The instance has no security group, so that nothing may go out."
    else:
        message = f"The instance's security groups ({', '.join(side.groups)}) are no more."
    return Obstacle("instance-group", message, f"ei launch --subnet {side.subnet.id} --group GROUP")


def _no_egress(side: _Side, endpoint: Endpoint) -> Obstacle:
    target = endpoint.group_ids[0] if endpoint.group_ids else side.subnet.cidr
    return Obstacle(
        "instance-egress",
        f"No security group of the instance ({', '.join(side.groups)}) lets TCP port {side.port} "
        f"out to the endpoint {endpoint.id}{_members(endpoint.group_ids)}.",
        f"ei network allow {side.groups[0]} --direction egress --port {side.port} --to {target}",
    )


def _no_dns(endpoint: Endpoint) -> Obstacle:
    return Obstacle(
        "private-dns",
        f"The endpoint {endpoint.id} has no private DNS name: clients must be told its address.",
        f"ei network endpoint modify {endpoint.id} --private-dns",
        blocking=False,
    )


def _no_dns_in_network(endpoint: Endpoint) -> Obstacle:
    name = endpoint.dns_lacks
    return Obstacle(
        "private-dns",
        f"The network {endpoint.vpc_id} has {name} off, so that the private DNS name of the"
        f" endpoint {endpoint.id} is not resolved: clients must be told its address.",
        f"aws ec2 modify-vpc-attribute --vpc-id {endpoint.vpc_id} --{_dashed(name)} Value=true",
        blocking=False,
    )


def _dashed(name: str) -> str:
    return "".join(f"-{each.lower()}" if each.isupper() else each for each in name)


def _members(groups: Sequence[str]) -> str:
    if not groups:
        return ""
    return f" or members of {', '.join(groups)}"


def _host(address: str) -> str:
    return str(ipaddress.ip_network(address))
