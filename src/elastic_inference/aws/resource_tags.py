"""The tags of what an ARN names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elastic_inference.control import arns
from elastic_inference.control.plane import ControlPlane

_GROUP = "autoScalingGroupName"


def kind_of(arn: str) -> str:
    """What sort of thing an ARN names, as `instance`; "" for `*`."""
    return _kind_and_name(arn)[0]


def _kind_and_name(arn: str) -> tuple[str, str]:
    """What the last part of an ARN says. A name may have colons and slashes of its own."""
    parts = arn.split(":", arns.PARTS - 1)
    if len(parts) < arns.PARTS:
        return "", ""
    head, _, name = parts[-1].partition("/")
    return head.rpartition(":")[2], name


class ResourceTags:
    """Looks up tags, for policies that decide by them."""

    def __init__(self, plane: ControlPlane) -> None:
        store = plane.store
        self._by_id: Mapping[str, Any] = {
            "instance": store.instances,
            "vpc": store.vpcs,
            "subnet": store.subnets,
            "security-group": store.groups,
            "vpc-endpoint": store.endpoints,
            "launch-template": store.templates,
            "elastic-inference-accelerator": store.accelerators,
        }
        self._by_name: Mapping[str, Any] = {
            "user": store.users,
            "role": store.roles,
            "policy": store.policies,
            "instance-profile": store.profiles,
        }
        self._key_pairs = store.key_pairs
        self._groups = store.scaling_groups

    def of(self, account: str, arn: str) -> tuple[str, Mapping[str, str]]:
        """The service that it is of, and its tags; none where there is no such thing."""
        parts = arn.split(":", arns.PARTS - 1)
        if len(parts) < arns.PARTS:
            return "", {}
        service = parts[2]
        kind, name = _kind_and_name(arn)
        if kind == _GROUP:
            group = self._groups.get(account, name)
            tags = group.tags if group else {}
            return service, {key: str(each["value"]) for key, each in tags.items()}
        found = self._found(account, kind, name)
        return service, found.tags if found is not None and found.account == account else {}

    def _found(self, account: str, kind: str, name: str) -> Any:
        if kind in self._by_id:
            return self._by_id[kind].get(name)
        if kind in self._by_name:
            return self._by_name[kind].get(account, name)
        if kind == "key-pair":
            columns = self._key_pairs.columns
            return self._key_pairs.first(columns.account == account, columns.name == name)
        return None
