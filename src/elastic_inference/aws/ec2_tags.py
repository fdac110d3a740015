"""Tags over everything of EC2's that has some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.aws import tags
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError, unsupported
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.pages import page
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.store import Store
from elastic_inference.control.tables import Records

_RESERVED = "aws:"
_MAX_RESOURCES = 1000


@dataclass(frozen=True, slots=True)
class _Kind:
    """What EC2 calls a kind of things; `error` is what it says where there is none."""

    name: str
    error: str
    table: Callable[[Store], Records[Any]]


_KINDS: Mapping[str, _Kind] = {
    "i": _Kind("instance", "InvalidInstanceID.NotFound", lambda store: store.instances),
    "key": _Kind("key-pair", "InvalidKeyPair.NotFound", lambda store: store.key_pairs),
    "lt": _Kind(
        "launch-template", "InvalidLaunchTemplateId.NotFound", lambda store: store.templates
    ),
    "sg": _Kind("security-group", "InvalidGroup.NotFound", lambda store: store.groups),
    "subnet": _Kind("subnet", "InvalidSubnetID.NotFound", lambda store: store.subnets),
    "vpc": _Kind("vpc", "InvalidVpcID.NotFound", lambda store: store.vpcs),
    "vpce": _Kind("vpc-endpoint", "InvalidVpcEndpointId.NotFound", lambda store: store.endpoints),
}
_UNTAGGED = ("ami", "eni", "sgr", "vpce-svc")


@dataclass(frozen=True, slots=True)
class _Tag:
    resource_id: str
    kind: str
    key: str
    value: str


class Tags:
    """CreateTags, DeleteTags and DescribeTags."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self.operations: Operations = {
            "CreateTags": operation(
                self._create, "Resources Tags.Key Tags.Value", resources=self._arns
            ),
            "DeleteTags": operation(
                self._delete, "Resources Tags.Key Tags.Value", resources=self._arns
            ),
            "DescribeTags": operation(self._describe, "Filters MaxResults NextToken"),
        }

    def _create(self, call: Call) -> Document:
        given = tags.read(call.input["Tags"])
        with self._store.transaction():
            for resource_id in _resources(call):
                kind, record = self._find(call.account, resource_id)
                after = {**record.tags, **given}
                own = [each for each in after if not each.startswith(_RESERVED)]
                if len(own) > tags.MAX_TAGS:
                    raise AwsError(
                        "TagLimitExceeded", f"{resource_id} can have up to {tags.MAX_TAGS} tags."
                    )
                self._change(kind, resource_id, record.tags, given, ())
        return {}

    def _delete(self, call: Call) -> Document:
        given = call.input.get("Tags")
        for each in given or ():
            if each.get("Key", "").lower().startswith(_RESERVED):
                raise AwsError(
                    "InvalidParameterValue",
                    f"Tag keys starting with '{_RESERVED}' are reserved for internal use",
                )
        with self._store.transaction():
            for resource_id in _resources(call):
                kind, record = self._find(call.account, resource_id)
                keys = _keys_to_delete(record.tags, given)
                self._change(kind, resource_id, record.tags, {}, keys)
        return {}

    def _change(
        self,
        kind: _Kind,
        resource_id: str,
        now: Mapping[str, str],
        given: Mapping[str, str],
        removed: Sequence[str],
    ) -> None:
        """In a transaction."""
        if kind is _KINDS["i"]:
            # Accelerators are billed under their instance's tags.
            self._plane.tag(resource_id, given, removed)
            if "Name" in given or "Name" in removed:
                self._store.set_instance(resource_id, name=given.get("Name", "")[:128])
            return
        table = kind.table(self._store)
        after = {key: value for key, value in {**now, **given}.items() if key not in removed}
        table.change(table.columns.id == resource_id, tags=after)

    def _describe(self, call: Call) -> Document:
        found = select(self._all(call.account), call, _FILTERS, lambda each: {each.key: each.value})
        shown, more = page(found, call, lambda each: (each.resource_id, each.key))
        return {
            "Tags": [
                {
                    "ResourceId": each.resource_id,
                    "ResourceType": each.kind,
                    "Key": each.key,
                    "Value": each.value,
                }
                for each in shown
            ],
            "NextToken": more,
        }

    def _all(self, account: str) -> list[_Tag]:
        return [
            _Tag(each.id, kind.name, key, value)
            for kind in _KINDS.values()
            for each in kind.table(self._store).where(
                kind.table(self._store).columns.account == account
            )
            for key, value in each.tags.items()
        ]

    def _find(self, account: str, resource_id: str) -> tuple[_Kind, Any]:
        prefix = resource_id.rpartition("-")[0]
        kind = _KINDS.get(prefix)
        if kind is None:
            if prefix in _UNTAGGED:
                raise unsupported(f"{resource_id[:64]} is of a kind that has no tags here.")
            raise AwsError("InvalidID", f"The ID '{resource_id[:64]}' is not valid")
        found = kind.table(self._store).get(resource_id)
        if found is None or found.account != account:
            raise AwsError(kind.error, f"The {kind.name} ID '{resource_id[:64]}' does not exist")
        return kind, found

    def _arns(self, call: Call) -> Sequence[str]:
        found = []
        for each in _resources(call):
            kind = _KINDS.get(each.rpartition("-")[0])
            name = f"{kind.name}/{each}" if kind else "*"
            region = self._plane.settings.region
            found.append(f"arn:{names.PARTITION}:ec2:{region}:{call.account}:{name}")
        return found


def _resources(call: Call) -> list[str]:
    found = list(dict.fromkeys(call.input["Resources"]))
    if not 1 <= len(found) <= _MAX_RESOURCES:
        raise AwsError(
            "InvalidParameterValue", f"A call tags from 1 to {_MAX_RESOURCES} resources."
        )
    return found


def _keys_to_delete(now: Mapping[str, str], given: Sequence[Mapping[str, str]] | None) -> list[str]:
    """Without a list all but AWS's own; a tag with a value only where it has that one."""
    if not given:
        return [key for key in now if not key.startswith(_RESERVED)]
    return [
        each["Key"]
        for each in given
        if each.get("Key") in now and each.get("Value", now[each["Key"]]) == now[each["Key"]]
    ]


_FILTERS: Mapping[str, Reader[_Tag]] = {
    "key": lambda each: each.key,
    "resource-id": lambda each: each.resource_id,
    "resource-type": lambda each: each.kind,
    "value": lambda each: each.value,
}
