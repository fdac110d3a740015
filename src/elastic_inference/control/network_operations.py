"""Operations on networks, subnets, security groups and endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from elastic_inference.control import network_users
from elastic_inference.control.caller import Caller, required, text, texts
from elastic_inference.control.documents import Document
from elastic_inference.control.network import missing
from elastic_inference.control.network_input import parse_rule
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import EndpointRecord, RuleRecord
from elastic_inference.errors import ConflictError, InvalidRequestError

_RULE = {"direction", "protocol", "fromPort", "toPort", "cidr", "sourceGroup"}


class NetworkOperations:
    """The networks of a pool. What keeps an instance out withdraws its tokens at once."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._network = plane.network
        self.operations: Mapping[str, Callable[[Document, Caller], Document]] = {
            "DescribeNetwork": self._describe,
            "CreateVpc": self._create_vpc,
            "DeleteVpc": self._delete_vpc,
            "CreateSubnet": self._create_subnet,
            "DeleteSubnet": self._delete_subnet,
            "CreateSecurityGroup": self._create_group,
            "DeleteSecurityGroup": self._delete_group,
            "AuthorizeRule": self._add_rule,
            "RevokeRule": self._remove_rule,
            "CreateEndpoint": self._create_endpoint,
            "ModifyEndpoint": self._modify_endpoint,
            "DeleteEndpoint": self._delete_endpoint,
        }

    def _describe(self, document: Document, caller: Caller) -> Document:
        del document
        store, account = self._store, caller.account
        rules: dict[str, list[Document]] = {}
        for rule in store.rules.where(order=(store.rules.columns.id,)):
            rules.setdefault(rule.group_id, []).append(_describe_rule(rule))
        return {
            "vpcs": [
                {"vpcId": each.id, "cidr": each.cidr, "isDefault": each.is_default}
                for each in store.vpcs.where(store.vpcs.columns.account == account)
            ],
            "subnets": [
                {
                    "subnetId": each.id,
                    "vpcId": each.vpc_id,
                    "cidr": each.cidr,
                    "zone": each.zone,
                    "isDefault": each.is_default,
                }
                for each in store.subnets.where(store.subnets.columns.account == account)
            ],
            "securityGroups": [
                {
                    "groupId": each.id,
                    "vpcId": each.vpc_id,
                    "name": each.name,
                    "description": each.description,
                    "rules": rules.get(each.id, []),
                }
                for each in store.groups.where(store.groups.columns.account == account)
            ],
            "endpoints": [
                _describe_endpoint(each)
                for each in store.endpoints.where(store.endpoints.columns.account == account)
            ],
        }

    def _create_vpc(self, document: Document, caller: Caller) -> Document:
        with self._plane.connections.rechecked():
            made = self._network.create_vpc(caller.account, required(document, "cidr"))
        return {"vpcId": made.id, "cidr": made.cidr}

    def _delete_vpc(self, document: Document, caller: Caller) -> Document:
        del caller
        vpc_id, store = required(document, "vpcId"), self._store
        with self._plane.connections.rechecked():
            if store.vpcs.get(vpc_id) is None:
                raise missing("network", vpc_id)
            self._refuse_used("network", vpc_id, network_users.users_of_vpc(store, vpc_id))
            network_users.remove_vpc(store, vpc_id)
        return {}

    def _create_subnet(self, document: Document, caller: Caller) -> Document:
        with self._plane.connections.rechecked():
            made = self._network.create_subnet(
                caller.account,
                required(document, "vpcId"),
                required(document, "cidr"),
                text(document, "zone"),
            )
        return {"subnetId": made.id, "vpcId": made.vpc_id, "cidr": made.cidr, "zone": made.zone}

    def _delete_subnet(self, document: Document, caller: Caller) -> Document:
        del caller
        subnet_id, store = required(document, "subnetId"), self._store
        with self._plane.connections.rechecked():
            if store.subnets.get(subnet_id) is None:
                raise missing("subnet", subnet_id)
            self._refuse_used("subnet", subnet_id, network_users.users_of_subnet(store, subnet_id))
            store.subnets.remove(store.subnets.columns.id == subnet_id)
        return {}

    def _create_group(self, document: Document, caller: Caller) -> Document:
        vpc_id = text(document, "vpcId") or self._default_vpc(caller.account)
        with self._plane.connections.rechecked():
            made = self._network.create_group(
                caller.account,
                vpc_id,
                required(document, "name"),
                text(document, "description", 256) or "",
            )
        return {"groupId": made.id, "vpcId": made.vpc_id}

    def _delete_group(self, document: Document, caller: Caller) -> Document:
        del caller
        group_id, store = required(document, "groupId"), self._store
        with self._plane.connections.rechecked():
            group = store.groups.get(group_id)
            if group is None:
                raise missing("security group", group_id)
            if group.name == network_users.DEFAULT_GROUP:
                raise ConflictError("The default security group goes with its network alone.")
            users = network_users.users_of_group(store, group_id)
            self._refuse_used("security group", group_id, users)
            network_users.remove_group(store, group_id)
        return {}

    def _add_rule(self, document: Document, caller: Caller) -> Document:
        del caller
        rule = parse_rule({key: document[key] for key in _RULE & set(document)})
        with self._plane.connections.rechecked():
            made = self._network.add_rule(
                required(document, "groupId"),
                rule.direction, rule.protocol, rule.from_port, rule.to_port,
                cidr=rule.cidr, source_group=rule.source_group,
                description=text(document, "description", 256) or "",
            )  # fmt: skip
        return {"ruleId": made.id}

    def _remove_rule(self, document: Document, caller: Caller) -> Document:
        del caller
        rule_id = required(document, "ruleId")
        with self._plane.connections.rechecked():
            if not self._store.rules.remove(self._store.rules.columns.id == rule_id):
                raise missing("rule", rule_id)
        return {}

    def _create_endpoint(self, document: Document, caller: Caller) -> Document:
        subnets, groups = texts(document, "subnetIds"), texts(document, "securityGroupIds")
        if not subnets or not groups:
            raise InvalidRequestError("An endpoint needs subnetIds and securityGroupIds.")
        with self._plane.connections.rechecked():
            made = self._network.create_endpoint(
                caller.account, required(document, "vpcId"), subnets, groups
            )
        return _describe_endpoint(made)

    def _modify_endpoint(self, document: Document, caller: Caller) -> Document:
        del caller
        store, endpoint_id = self._store, required(document, "endpointId")
        with self._plane.connections.rechecked():
            endpoint = store.endpoints.get(endpoint_id)
            if endpoint is None:
                raise missing("endpoint", endpoint_id)
            subnets = _edited(document, endpoint.subnet_ids, "addSubnetIds", "removeSubnetIds")
            groups = _edited(
                document, endpoint.group_ids, "addSecurityGroupIds", "removeSecurityGroupIds"
            )
            self._network.check_endpoint(endpoint.vpc_id, subnets, groups)
            dns = document.get("privateDns", endpoint.private_dns)
            if not isinstance(dns, bool):
                raise InvalidRequestError("privateDns must be true or false.")
            store.endpoints.change(
                store.endpoints.columns.id == endpoint_id,
                subnet_ids=subnets, group_ids=groups, private_dns=dns,
            )  # fmt: skip
        changed = store.endpoints.get(endpoint_id)
        return _describe_endpoint(changed or endpoint)

    def _delete_endpoint(self, document: Document, caller: Caller) -> Document:
        del caller
        endpoint_id = required(document, "endpointId")
        with self._plane.connections.rechecked():
            columns = self._store.endpoints.columns
            if not self._store.endpoints.remove(columns.id == endpoint_id):
                raise missing("endpoint", endpoint_id)
        return {}

    def _default_vpc(self, account: str) -> str:
        columns = self._store.vpcs.columns
        found = self._store.vpcs.first(columns.account == account, columns.is_default)
        if found is None:
            raise InvalidRequestError("vpcId is missing: there is no default network.")
        return found.id

    @staticmethod
    def _refuse_used(what: str, name: str, users: Sequence[str]) -> None:
        if users:
            raise ConflictError(
                f"The {what} {name} is used by {', '.join(users[:5])}"
                f"{' and others' if len(users) > 5 else ''}.",
                next_step="End or change these first.",
            )


def _edited(document: Document, now: Sequence[str], add: str, remove: str) -> list[str]:
    gone = texts(document, remove) or []
    return [
        each for each in dict.fromkeys([*now, *(texts(document, add) or [])]) if each not in gone
    ]


def _describe_rule(rule: RuleRecord) -> Document:
    return {
        "ruleId": rule.id,
        "direction": rule.direction,
        "protocol": rule.protocol,
        "fromPort": rule.from_port,
        "toPort": rule.to_port,
        "cidr": rule.cidr or None,
        "sourceGroup": rule.source_group or None,
        "description": rule.description,
    }


def _describe_endpoint(endpoint: EndpointRecord) -> Document:
    return {
        "endpointId": endpoint.id,
        "vpcId": endpoint.vpc_id,
        "service": endpoint.service,
        "state": endpoint.state,
        "privateDns": endpoint.private_dns,
        "subnetIds": list(endpoint.subnet_ids),
        "securityGroupIds": list(endpoint.group_ids),
    }
