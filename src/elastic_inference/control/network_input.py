"""Rules and networks as users write them, checked and brought to one form."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from elastic_inference.control.network_rules import ALL, HIGHEST_PORT, Direction, Rule, Subnet, Vpc
from elastic_inference.errors import InvalidRequestError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_FIELDS = ("groupId", "direction", "protocol", "fromPort", "toPort", "cidr", "sourceGroup")
_DIRECTIONS: Mapping[str, Direction] = {"ingress": "ingress", "egress": "egress"}
_PROTOCOLS = {"all": ALL, "-1": ALL, "6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}
_NAMED = frozenset({"tcp", "udp", "icmp", "icmpv6"})
_WITH_PORTS = frozenset({"tcp", "udp"})
_CIDR = re.compile(r"[0-9a-fA-F.:]{2,45}/[0-9]{1,3}")
_GROUP = re.compile(r"sg-[0-9a-f]{8,32}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_NUMBER = re.compile(r"[0-9]{1,3}")
_SHOWN = 64


def parse_rule(fields: Mapping[str, Any]) -> Rule:
    """The rule that AuthorizeRule's fields describe.

    Args:
        fields: direction, protocol (tcp if missing), fromPort, toPort (as fromPort if missing),
            and one of cidr and sourceGroup. Without ports all are meant. A groupId is left to
            the caller.

    Raises:
        InvalidRequestError: it names the field that is wrong.
    """
    for name in fields:
        if name not in _FIELDS:
            raise _wrong(str(name), "is no field of a rule", f"There are {', '.join(_FIELDS)}.")
    direction = _DIRECTIONS.get(_text(fields, "direction"))
    if direction is None:
        raise _wrong("direction", "must be ingress or egress", "")
    protocol = parse_protocol(_text(fields, "protocol") or "tcp")
    first, last = _ports(fields, protocol)
    cidr, group = _text(fields, "cidr"), _text(fields, "sourceGroup")
    if bool(cidr) is bool(group):
        raise _wrong("cidr", "or sourceGroup is needed, and not both", "")
    if cidr:
        return Rule(direction, protocol, first, last, cidr=parse_cidr(cidr, "cidr"))
    if not _GROUP.fullmatch(group):
        raise _wrong(
            "sourceGroup", f"is no security group's id: {_shown(group)}", "They read sg-…."
        )
    return Rule(direction, protocol, first, last, source_group=group)


def parse_protocol(text: str) -> str:
    """A protocol in its one form: a name, another's number, or -1 for all.

    Raises:
        InvalidRequestError: there is no such protocol.
    """
    name = _PROTOCOLS.get(text.lower(), text.lower())
    if name in _NAMED or name == ALL:
        return name
    if _NUMBER.fullmatch(name) and int(name) <= 255:
        return str(int(name))
    raise _wrong("protocol", f"is unknown: {_shown(text)}", "Use tcp, udp, icmp, icmpv6 or all.")


def parse_ports(text: str) -> tuple[int, int]:
    """The first and last port of `443`, `8000-8010` or `all`.

    Raises:
        InvalidRequestError: it is none of these.
    """
    if text.lower() in {"all", "-1"}:
        return 0, HIGHEST_PORT
    match = _PORTS.fullmatch(text)
    if match:
        first, last = int(match[1]), int(match[2] or match[1])
        if first <= last <= HIGHEST_PORT:
            return first, last
    raise _wrong("port", f"is no port or range: {_shown(text)}", "Write 443, 8000-8010 or all.")


def parse_cidr(text: str, name: str) -> str:
    """A network in its one form: bits beyond its mask are cleared, as AWS does.

    Raises:
        InvalidRequestError: it names the field `name`.
    """
    return str(_network(text, name))


def parse_vpc_cidr(text: str) -> str:
    """A network's CIDR block: IPv4, /16 to /28.

    Raises:
        InvalidRequestError: it is not.
    """
    network = _network(text, "cidr")
    if network.version != 4 or not 16 <= network.prefixlen <= 28:
        raise _wrong("cidr", f"must be IPv4 from /16 to /28, not {network}", "")
    return str(network)


def parse_subnet_cidr(text: str, vpc: Vpc, others: Iterable[Subnet]) -> str:
    """A subnet's CIDR block: /16 to /28, within its network's, apart from the other subnets.

    Raises:
        InvalidRequestError: it is not.
    """
    cidr = parse_vpc_cidr(text)
    network, whole = ipaddress.IPv4Network(cidr), ipaddress.IPv4Network(vpc.cidr)
    if not network.subnet_of(whole):
        raise _wrong("cidr", f"{cidr} is not within {vpc.cidr}, that of {vpc.id}", "")
    for other in others:
        if other.vpc_id == vpc.id and network.overlaps(ipaddress.IPv4Network(other.cidr)):
            raise _wrong("cidr", f"{cidr} overlaps {other.cidr}, that of {other.id}", "")
    return cidr


def _ports(fields: Mapping[str, Any], protocol: str) -> tuple[int, int]:
    first = _port(fields, "fromPort")
    last = _port(fields, "toPort")
    if protocol == ALL:
        return 0, HIGHEST_PORT
    if protocol not in _WITH_PORTS:
        return -1, -1
    if first in (None, -1) and last in (None, -1):
        return 0, HIGHEST_PORT
    if first is None or first < 0:
        raise _wrong("fromPort", "is needed where toPort is there", "")
    last = first if last is None else last
    if last < first:
        raise _wrong("toPort", f"is {last}, less than fromPort, which is {first}", "")
    return first, last


def _port(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= HIGHEST_PORT:
        raise _wrong(name, f"must be a whole number from -1 to {HIGHEST_PORT}", "")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name, "must be a text", "")
    return value


def _network(text: str, name: str) -> Network:
    if _CIDR.fullmatch(text):
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            pass
    try:
        whole = ipaddress.ip_network(text)
    except ValueError:
        hint = "Write a network such as 10.0.0.0/16."
    else:
        hint = f"Write {whole} for that address alone." if "/" not in text else ""
    raise _wrong(name, f"is no CIDR block: {_shown(text)}", hint)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _wrong(name: str, why: str, next_step: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name[:_SHOWN]} {why}.", next_step=next_step)
