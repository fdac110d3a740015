"""Rules of security groups in EC2's two forms: permissions, and a rule for each of their parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.aws.call import Call, Document
from elastic_inference.aws.ec2_lookup import Lookup
from elastic_inference.aws.errors import AwsError
from elastic_inference.control.network_input import parse_cidr, parse_protocol
from elastic_inference.control.network_rules import ALL, HIGHEST_PORT
from elastic_inference.control.records import GroupRecord, RuleRecord
from elastic_inference.errors import InvalidRequestError

FLAT = "IpProtocol FromPort ToPort CidrIp"
PERMISSIONS = " ".join(
    f"IpPermissions.{each}"
    for each in (
        "IpProtocol", "FromPort", "ToPort", "IpRanges", "Ipv6Ranges",
        "UserIdGroupPairs.GroupId", "UserIdGroupPairs.GroupName", "UserIdGroupPairs.UserId",
        "UserIdGroupPairs.VpcId", "UserIdGroupPairs.Description",
    )
)  # fmt: skip
_PORTS, _TYPES = ("tcp", "udp"), ("icmp", "icmpv6")
_HIGHEST_TYPE = 255
_DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")


@dataclass(frozen=True, slots=True)
class Part:
    """One rule that a permission stands for; one of `cidr` and `source_group` is ""."""

    protocol: str
    from_port: int
    to_port: int
    cidr: str = ""
    source_group: str = ""
    description: str | None = None

    @property
    def key(self) -> tuple[str, int, int, str, str]:
        """What tells it apart in its group and direction."""
        return self.protocol, self.from_port, self.to_port, self.cidr, self.source_group


def key_of(rule: RuleRecord) -> tuple[str, int, int, str, str]:
    """As `Part.key`, of a rule that there is."""
    return rule.protocol, rule.from_port, rule.to_port, rule.cidr, rule.source_group


def parts(call: Call, group: GroupRecord, lookup: Lookup) -> list[tuple[Part, Document]]:
    """The rules that a call names, each with a permission of its own.

    Raises:
        AwsError: one of them is none.
    """
    flat = {name: call.input[name] for name in FLAT.split() if name in call.input}
    permissions: Sequence[Mapping[str, Any]] = call.input.get("IpPermissions", ())
    if flat and permissions:
        raise AwsError(
            "InvalidParameterCombination",
            f"The parameter ipPermissions cannot be used with {', '.join(sorted(flat))}.",
        )
    if flat:
        cidr = flat.pop("CidrIp", None)
        permissions = [{**flat, "IpRanges": [{"CidrIp": cidr}] if cidr else []}]
    found = [each for permission in permissions for each in _parts(permission, call, group, lookup)]
    if len({part.key for part, _ in found}) < len(found):
        raise _bad("The same permission must not appear multiple times")
    return found


def check_description(text: str) -> str:
    """The description of a rule.

    Raises:
        AwsError: it has characters that none may have, or too many.
    """
    if not _DESCRIPTION.fullmatch(text):
        raise _bad(
            "Invalid rule description. Valid descriptions are strings less than 256 characters"
            " from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )
    return text


def parse_range(protocol: str | None, first: int | None, last: int | None) -> tuple[str, int, int]:
    """A protocol and its ports, or its type and code, as rules keep them.

    Raises:
        AwsError: there are no such.
    """
    if protocol is None:
        raise AwsError("MissingParameter", "The request must contain the parameter ipProtocol")
    try:
        name = parse_protocol(protocol)
    except InvalidRequestError:
        raise _bad(
            f"Invalid value '{protocol[:64]}' for IP protocol. Unknown protocol. Use tcp, udp,"
            " icmp, icmpv6, -1 for all, or a protocol's number."
        ) from None
    if name in _PORTS:
        return name, *_ports(first, last)
    if name in _TYPES:
        return name, *_types(first, last)
    # As in AWS, other protocols have no ports, whatever is given.
    return (name, 0, HIGHEST_PORT) if name == ALL else (name, -1, -1)


def parse_block(text: str, version: int) -> str:
    """A network of IPv4 or IPv6 in its one form.

    Raises:
        AwsError: it is none.
    """
    try:
        cidr = parse_cidr(text, "cidr")
    except InvalidRequestError:
        cidr = ""
    if not cidr or (":" in cidr) is not (version == 6):
        raise _bad(f"CIDR block {text[:64]} is malformed")
    return cidr


def permissions_of(
    rules: Sequence[RuleRecord], account: str, names: Mapping[str, str], vpc_id: str
) -> list[Document]:
    """The rules of one direction as EC2 groups them: those of like protocol and ports are one.

    Args:
        names: of security groups by their ids.
    """
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for rule in sorted(rules, key=key_of):
        range_ = (rule.protocol, rule.from_port, rule.to_port)
        entry = found.setdefault(range_, _empty(*range_))
        said = {"Description": rule.description or None}
        if rule.source_group:
            name = names.get(rule.source_group)
            entry["UserIdGroupPairs"].append(
                {"GroupId": rule.source_group, "GroupName": name, "UserId": account}
                | {"VpcId": vpc_id} | said
            )  # fmt: skip
        elif ":" in rule.cidr:
            entry["Ipv6Ranges"].append({"CidrIpv6": rule.cidr} | said)
        else:
            entry["IpRanges"].append({"CidrIp": rule.cidr} | said)
    return list(found.values())


def _empty(protocol: str, first: int, last: int) -> dict[str, Any]:
    ports = {} if protocol == ALL else {"FromPort": first, "ToPort": last}
    lists: dict[str, list[Document]] = {
        "IpRanges": [],
        "Ipv6Ranges": [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [],
    }
    return {"IpProtocol": protocol, **ports, **lists}


def _parts(
    permission: Mapping[str, Any], call: Call, group: GroupRecord, lookup: Lookup
) -> Iterator[tuple[Part, Document]]:
    given = {name: permission.get(name) for name in ("IpProtocol", "FromPort", "ToPort")}
    range_ = parse_range(given["IpProtocol"], given["FromPort"], given["ToPort"])
    head = {name: each for name, each in given.items() if each is not None}
    sources = 0
    for member, key, version in (("IpRanges", "CidrIp", 4), ("Ipv6Ranges", "CidrIpv6", 6)):
        for each in permission.get(member) or ():
            cidr = parse_block(each.get(key, ""), version)
            sources += 1
            yield Part(*range_, cidr=cidr, description=_description(each)), head | {member: [each]}
    for pair in permission.get("UserIdGroupPairs") or ():
        source = _source(pair, call.account, group, lookup)
        sources += 1
        part = Part(*range_, source_group=source, description=_description(pair))
        yield part, head | {"UserIdGroupPairs": [pair]}
    if not sources:
        raise AwsError(
            "MissingParameter",
            "Missing source specification: include source security group or CIDR information",
        )


def _source(pair: Mapping[str, str], account: str, group: GroupRecord, lookup: Lookup) -> str:
    if pair.get("UserId", account) != account or pair.get("VpcId", group.vpc_id) != group.vpc_id:
        raise AwsError(
            "InvalidGroup.NotFound",
            f"The security group '{pair.get('GroupId', pair.get('GroupName', ''))[:64]}' of another"
            f" account or VPC than {group.vpc_id} does not exist here",
        )
    if "GroupId" in pair:
        found = lookup.group(account, pair["GroupId"])
    else:
        vpc = lookup.vpc(account, group.vpc_id)
        found = lookup.group_named(account, pair.get("GroupName", ""), vpc)
    if found.vpc_id != group.vpc_id or pair.get("GroupName", found.name) != found.name:
        raise AwsError(
            "InvalidGroup.NotFound",
            "You have specified two resources that belong to different networks.",
        )
    return found.id


def _description(source: Mapping[str, str]) -> str | None:
    text = source.get("Description")
    return None if text is None else check_description(text)


def _ports(first: int | None, last: int | None) -> tuple[int, int]:
    # AWS's CLI means all ports where it names none.
    if first in (None, -1) and last in (None, -1):
        return 0, HIGHEST_PORT
    if first is None or last is None:
        raise _bad(
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange."
        )
    for each in (first, last):
        if not 0 <= each <= HIGHEST_PORT:
            raise _bad(f"Invalid value '{each}' for port. It is from 0 to {HIGHEST_PORT}.")
    if first > last:
        raise _bad(f"Invalid TCP/UDP port range ({first}:{last})")
    return first, last


def _types(first: int | None, last: int | None) -> tuple[int, int]:
    kind, code = -1 if first is None else first, -1 if last is None else last
    if not (-1 <= kind <= _HIGHEST_TYPE and -1 <= code <= _HIGHEST_TYPE):
        raise _bad(f"ICMP type ({kind}) or code ({code}) is out of range: from -1 to 255.")
    if kind == -1 and code != -1:
        raise _bad(f"ICMP code ({code}) needs a type: -1 stands for all types and codes.")
    return kind, code


def _bad(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)
