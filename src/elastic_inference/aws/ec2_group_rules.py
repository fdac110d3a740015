"""The rules of EC2's security groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from elastic_inference.aws.call import Call, Document, Operation, Operations, operation
from elastic_inference.aws.ec2_groups import GroupOf
from elastic_inference.aws.ec2_lookup import Lookup, chosen, no_group
from elastic_inference.aws.ec2_permissions import (
    FLAT,
    PERMISSIONS,
    Part,
    check_description,
    key_of,
    parse_block,
    parse_range,
    parts,
)
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.pages import page
from elastic_inference.control.network_rules import ALL
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import GroupRecord, RuleRecord

_INGRESS, _EGRESS = "ingress", "egress"
_KIND = "security-group-rule"
_MAX_RULES = 1000  # of one group in one direction
_MAX_ALL_RULES = 50_000
_Run = Callable[[Call, str], Document]


class GroupRules:
    """Adds, describes, changes and removes rules."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._lookup = Lookup(plane)
        self._group = GroupOf(plane)
        self.operations: Operations = {
            **self._both("AuthorizeSecurityGroup{}", self._authorize, FLAT),
            **self._both("RevokeSecurityGroup{}", self._revoke, f"{FLAT} SecurityGroupRuleIds"),
            **self._both(
                "UpdateSecurityGroupRuleDescriptions{}",
                self._describe_anew,
                "SecurityGroupRuleDescriptions",
            ),
            "DescribeSecurityGroupRules": operation(
                self._describe, "SecurityGroupRuleIds Filters NextToken MaxResults"
            ),
            "ModifySecurityGroupRules": operation(
                self._modify,
                "GroupId SecurityGroupRules.SecurityGroupRuleId "
                + " ".join(f"SecurityGroupRules.SecurityGroupRule.{each}" for each in _CHANGES),
                resources=self._group.resources,
            ),
        }

    def _both(self, name: str, run: _Run, honours: str) -> Mapping[str, Operation]:
        """An operation of each direction."""
        honoured = f"GroupId {PERMISSIONS} {honours}"

        def of(direction: str, more: str = "") -> Operation:
            return operation(
                lambda call: run(call, direction), honoured + more, resources=self._group.resources
            )

        ingress = of(_INGRESS, " GroupName")
        return {name.format("Ingress"): ingress, name.format("Egress"): of(_EGRESS)}

    def _rules(self, group: GroupRecord, direction: str) -> list[RuleRecord]:
        columns = self._store.rules.columns
        return self._store.rules.where(
            columns.group_id == group.id, columns.direction == direction, order=(columns.id,)
        )

    # -- adding -----------------------------------------------------------------------------------

    def _authorize(self, call: Call, direction: str) -> Document:
        with self._plane.connections.rechecked():
            group = self._group.of(call)
            wanted = [part for part, _ in parts(call, group, self._lookup)]
            if not wanted:
                raise _missing("ipPermissions")
            known = {key_of(each) for each in self._rules(group, direction)}
            for part in wanted:
                if part.key in known:
                    raise _duplicate(part)
            if len(known) + len(wanted) > _MAX_RULES:
                raise AwsError(
                    "RulesPerSecurityGroupLimitExceeded",
                    "The maximum number of rules per security group has been reached:"
                    f" {_MAX_RULES} in each direction.",
                )
            if self._store.rules.count() + len(wanted) > _MAX_ALL_RULES:
                raise AwsError(
                    "RulesPerSecurityGroupLimitExceeded",
                    f"There may be {_MAX_ALL_RULES} rules in all groups. Revoke some.",
                )
            made = [
                self._plane.network.add_rule(
                    group.id, direction, part.protocol, part.from_port, part.to_port,
                    cidr=part.cidr, source_group=part.source_group,
                    description=part.description or "",
                )
                for part in wanted
            ]  # fmt: skip
            return {
                "Return": True,
                "SecurityGroupRules": [self._shown(each, group) for each in made],
            }

    # -- removing ---------------------------------------------------------------------------------

    def _revoke(self, call: Call, direction: str) -> Document:
        with self._plane.connections.rechecked():
            group = self._group.of(call)
            rules = self._rules(group, direction)
            unknown: list[Document] = []
            if ids := call.input.get("SecurityGroupRuleIds"):
                if any(name in call.input for name in (*FLAT.split(), "IpPermissions")):
                    raise AwsError(
                        "InvalidParameterCombination",
                        "The parameter securityGroupRuleIds cannot be used with permissions.",
                    )
                gone = chosen(rules, ids, lambda each: each.id, _no_rule)
            else:
                gone, unknown = self._matching(call, group, rules)
            columns = self._store.rules.columns
            self._store.rules.remove(columns.id.in_([each.id for each in gone]))
        return {
            "Return": True,
            "UnknownIpPermissions": unknown,
            "RevokedSecurityGroupRules": [_shown_revoked(each) for each in gone],
        }

    def _matching(
        self, call: Call, group: GroupRecord, rules: Sequence[RuleRecord]
    ) -> tuple[list[RuleRecord], list[Document]]:
        """The rules that permissions name, and the permissions that no rule has."""
        known = {key_of(each): each for each in rules}
        wanted = parts(call, group, self._lookup)
        if not wanted:
            raise _missing("ipPermissions or securityGroupRuleIds")
        unknown = [permission for part, permission in wanted if part.key not in known]
        # As AWS has it: who revokes in the default network may name what is not there.
        if unknown and not self._lookup.vpc(call.account, group.vpc_id).is_default:
            raise AwsError(
                "InvalidPermission.NotFound",
                "The specified rule does not exist in this security group.",
            )
        return [known[part.key] for part, _ in wanted if part.key in known], unknown

    # -- describing and changing ------------------------------------------------------------------

    def _describe(self, call: Call) -> Document:
        groups = {
            each.id: each
            for each in self._store.groups.where(self._store.groups.columns.account == call.account)
        }
        own = [each for each in self._store.rules.where() if each.group_id in groups]
        ids = call.input.get("SecurityGroupRuleIds", ())
        found = chosen(own, ids, lambda each: each.id, _no_rule)
        found = select(found, call, _FILTERS, lambda _: {})
        found, token = page(found, call, lambda each: (each.group_id, each.direction, each.id))
        return {
            "SecurityGroupRules": [self._shown(each, groups[each.group_id]) for each in found],
            "NextToken": token,
        }

    def _describe_anew(self, call: Call, direction: str) -> Document:
        with self._plane.connections.rechecked():
            group = self._group.of(call)
            rules = self._rules(group, direction)
            for rule, text in self._described(call, group, rules):
                self._store.rules.change(
                    self._store.rules.columns.id == rule.id, description=check_description(text)
                )
        return {"Return": True}

    def _described(
        self, call: Call, group: GroupRecord, rules: Sequence[RuleRecord]
    ) -> list[tuple[RuleRecord, str]]:
        """The rules that a call describes anew, and their descriptions."""
        given: Sequence[Mapping[str, str]] = call.input.get("SecurityGroupRuleDescriptions", ())
        if given:
            ids = [each.get("SecurityGroupRuleId", "") for each in given]
            chosen(rules, ids, lambda each: each.id, _no_rule)
            known = {each.id: each for each in rules}
            return [
                (known[each["SecurityGroupRuleId"]], each.get("Description", "")) for each in given
            ]
        wanted = [part for part, _ in parts(call, group, self._lookup)]
        if not wanted:
            raise _missing("ipPermissions or securityGroupRuleDescriptions")
        by_key = {key_of(each): each for each in rules}
        if any(part.key not in by_key for part in wanted):
            raise AwsError(
                "InvalidPermission.NotFound",
                "The specified rule does not exist in this security group.",
            )
        return [(by_key[part.key], part.description or "") for part in wanted]

    def _modify(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            group = self._group.of(call)
            wanted = {
                each["SecurityGroupRuleId"]: each.get("SecurityGroupRule", {})
                for each in call.input["SecurityGroupRules"]
            }
            rules = [*self._rules(group, _INGRESS), *self._rules(group, _EGRESS)]
            for rule in chosen(rules, list(wanted), lambda each: each.id, _no_rule):
                self._change(rule, self._changed(rule, group, wanted[rule.id]))
            self._check_apart(group)
        return {"Return": True}

    def _changed(self, rule: RuleRecord, group: GroupRecord, given: Mapping[str, Any]) -> Part:
        range_ = parse_range(given.get("IpProtocol"), given.get("FromPort"), given.get("ToPort"))
        sources = [name for name in _SOURCES if given.get(name)]
        if len(sources) != 1:
            raise AwsError(
                "InvalidParameterCombination", f"A rule has one of {', '.join(_SOURCES)}."
            )
        part = Part(
            *range_, description=check_description(given.get("Description", rule.description))
        )
        (name,) = sources
        if name == "ReferencedGroupId":
            source = self._lookup.group(group.account, given[name])
            if source.vpc_id != group.vpc_id:
                raise no_group(source.id)
            return replace(part, source_group=source.id)
        return replace(part, cidr=parse_block(given[name], 6 if name == "CidrIpv6" else 4))

    def _change(self, rule: RuleRecord, part: Part) -> None:
        self._store.rules.change(
            self._store.rules.columns.id == rule.id,
            protocol=part.protocol,
            from_port=part.from_port,
            to_port=part.to_port,
            cidr=part.cidr,
            source_group=part.source_group,
            description=part.description,
        )

    def _check_apart(self, group: GroupRecord) -> None:
        for direction in (_INGRESS, _EGRESS):
            keys = [key_of(each) for each in self._rules(group, direction)]
            twice = next((each for each in keys if keys.count(each) > 1), None)
            if twice is not None:
                raise _duplicate(Part(*twice))

    def _shown(self, rule: RuleRecord, group: GroupRecord) -> Document:
        shown = dict(_shown_range(rule))
        if rule.source_group:
            shown["ReferencedGroupInfo"] = {
                "GroupId": rule.source_group,
                "UserId": group.account,
                "VpcId": group.vpc_id,
            }
        return shown | {
            "GroupOwnerId": group.account,
            "SecurityGroupRuleArn": self._lookup.arn(group.account, _KIND, rule.id),
        }


_SOURCES = ("CidrIpv4", "CidrIpv6", "ReferencedGroupId")
_CHANGES = ("IpProtocol", "FromPort", "ToPort", "Description", *_SOURCES)
_FILTERS: Mapping[str, Reader[RuleRecord]] = {
    "group-id": lambda each: each.group_id,
    "security-group-rule-id": lambda each: each.id,
}


def _shown_range(rule: RuleRecord) -> Document:
    # Here, though not in permissions, AWS has numbers for all protocols together too.
    every = rule.protocol == ALL
    return {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "IsEgress": rule.direction == _EGRESS,
        "IpProtocol": rule.protocol,
        "FromPort": -1 if every else rule.from_port,
        "ToPort": -1 if every else rule.to_port,
        "CidrIpv6" if ":" in rule.cidr else "CidrIpv4": rule.cidr or None,
        "Description": rule.description or None,
    }


def _shown_revoked(rule: RuleRecord) -> Document:
    return {**_shown_range(rule), "ReferencedGroupId": rule.source_group or None}


def _missing(name: str) -> AwsError:
    return AwsError("MissingParameter", f"The request must contain the parameter {name}")


def _no_rule(rule_id: str) -> AwsError:
    return AwsError(
        "InvalidSecurityGroupRuleId.NotFound",
        f"The security group rule ID '{rule_id[:64]}' does not exist",
    )


def _duplicate(part: Part) -> AwsError:
    peer = part.source_group or part.cidr
    ports = (
        "ALL"
        if part.protocol == ALL
        else f"{part.protocol.upper()}, from port: {part.from_port}, to port: {part.to_port}"
    )
    return AwsError(
        "InvalidPermission.Duplicate",
        f'the specified rule "peer: {peer}, {ports}, ALLOW" already exists',
    )
