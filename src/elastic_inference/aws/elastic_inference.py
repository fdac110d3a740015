"""elastic-inference: the accelerators, their types and their tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement

from elastic_inference.aws import errors
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.pages import page
from elastic_inference.catalog import AcceleratorType
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Accelerator
from elastic_inference.errors import AccessDeniedError, InvalidRequestError, NotFoundError

_SERVICE = "elastic-inference"
_ID = re.compile(r"eia-[0-9a-f]{1,252}")
_ARN = re.compile(
    r"arn:aws[^\s:]*:elastic-inference:(?P<region>[^\s:]+):(?P<account>[0-9]{12})"
    r":elastic-inference-accelerator/(?P<id>eia-[0-9a-f]{1,252})"
)
_MAX_PAGE, _MAX_VALUES, _MAX_IDS = 100, 100, 1000
_TYPES, _INSTANCE = "accelerator-types", "instance-id"


class ElasticInference:
    """The operations of elastic-inference."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "DescribeAcceleratorOfferings": operation(
                self._describe_offerings, "locationType acceleratorTypes"
            ),
            "DescribeAcceleratorTypes": operation(self._describe_types),
            "DescribeAccelerators": operation(
                self._describe, "acceleratorIds filters maxResults nextToken",
                resources=self._described,
            ),
            "ListTagsForResource": operation(
                self._list_tags, "resourceArn", resources=self._meant_by
            ),
            "TagResource": operation(self._tag, "resourceArn tags", resources=self._meant_by),
            "UntagResource": operation(
                self._untag, "resourceArn tagKeys", resources=self._meant_by
            ),
        }  # fmt: skip

    # -- types ------------------------------------------------------------------------------------

    def _describe_types(self, call: Call) -> Document:
        del call
        return {"acceleratorTypes": [_described_type(each) for each in self._plane.catalog.types]}

    def _describe_offerings(self, call: Call) -> Document:
        kind, region = call.input["locationType"], self._plane.settings.region
        location = {
            "region": region,
            "availability-zone": self._plane.network.zone,
            "availability-zone-id": names.zone_id(region),
        }[kind]
        catalog = self._plane.catalog
        wanted = [catalog.get(each).name for each in call.input.get("acceleratorTypes", ())]
        return {
            "acceleratorTypeOfferings": [
                {"acceleratorType": name, "locationType": kind, "location": location}
                for name in dict.fromkeys(wanted or (each.name for each in catalog.types))
            ]
        }

    # -- accelerators -----------------------------------------------------------------------------

    def _described(self, call: Call) -> Sequence[str]:
        region = self._plane.settings.region
        ids = call.input.get("acceleratorIds") or ()
        return [names.accelerator_arn(region, call.account, each) for each in ids] or ["*"]

    def _describe(self, call: Call) -> Document:
        if call.input.get("maxResults", 0) > _MAX_PAGE:
            raise errors.invalid(_SERVICE, f"maxResults is at most {_MAX_PAGE}.")
        columns = self._plane.store.accelerators.columns
        conditions = [columns.account == call.account, *self._filters(call)]
        if call.caller.instance_id is not None:
            # An instance's credentials are for itself.
            conditions.append(columns.instance_id == call.caller.instance_id)
        ids = _ids(call)
        if ids:
            conditions.append(columns.id.in_(ids))
        found = self._plane.store.accelerators.where(*conditions)
        self._check_found(ids, found, call)
        shown, more = page(
            found, call, lambda each: (each.created_at, each.id),
            token="nextToken", size="maxResults",  # noqa: S106 - parameters' names
            most=_MAX_PAGE, code="BadRequestException",
        )  # fmt: skip
        return {"acceleratorSet": [self._show(each) for each in shown], "nextToken": more}

    def _filters(self, call: Call) -> list[ColumnElement[bool]]:
        columns = self._plane.store.accelerators.columns
        found: list[ColumnElement[bool]] = []
        for each in call.input.get("filters", ()):
            name, values = each.get("name", ""), each.get("values", [])
            if name not in {_TYPES, _INSTANCE}:
                raise errors.invalid(
                    _SERVICE, f"There is no filter {name[:64]!r}: use {_TYPES} or {_INSTANCE}."
                )
            if not 1 <= len(values) <= _MAX_VALUES:
                raise errors.invalid(
                    _SERVICE, f"The filter {name} needs from 1 to {_MAX_VALUES} values."
                )
            column = columns.type if name == _TYPES else columns.instance_id
            found.append(column.in_(self._meant(values) if name == _TYPES else values))
        return found

    def _meant(self, types: Sequence[str]) -> list[str]:
        """The names of types; one that is not known is no accelerator's."""
        meant = []
        for each in types:
            try:
                meant.append(self._plane.catalog.get(each).name)
            except InvalidRequestError:
                meant.append(each)
        return meant

    def _check_found(self, ids: Sequence[str], found: Sequence[Accelerator], call: Call) -> None:
        missing = set(ids) - {each.id for each in found}
        # What is there and was filtered out is not missing.
        for each in sorted(missing):
            self._accelerator(each, call)

    def _show(self, accelerator: Accelerator) -> Document:
        region = self._plane.settings.region
        return {
            "acceleratorId": accelerator.id,
            "acceleratorType": accelerator.type,
            "acceleratorHealth": {"status": self._plane.fleet.status(accelerator.id).health.value},
            "availabilityZone": self._plane.network.zone,
            "attachedResource": names.instance_arn(
                region, accelerator.account, accelerator.instance_id
            ),
        }

    # -- tags -------------------------------------------------------------------------------------

    def _list_tags(self, call: Call) -> Document:
        return {"tags": dict(self._named(call).tags)}

    def _tag(self, call: Call) -> Document:
        tags: Mapping[str, str] = call.input["tags"]
        _check_keys(tags)
        if not tags:
            raise errors.invalid(_SERVICE, "tags must have at least one tag.")
        self._plane.tag(self._named(call).id, tags)
        return {}

    def _untag(self, call: Call) -> Document:
        keys: Sequence[str] = call.input["tagKeys"]
        _check_keys(keys)
        self._plane.tag(self._named(call).id, {}, keys)
        return {}

    def _meant_by(self, call: Call) -> Sequence[str]:
        """The accelerator as policies name it, whatever the partition that was written."""
        match = _ARN.fullmatch(call.input["resourceArn"])
        if match is None:
            return [call.input["resourceArn"]]
        return [names.accelerator_arn(match["region"], match["account"], match["id"])]

    def _named(self, call: Call) -> Accelerator:
        """The accelerator of `resourceArn`."""
        arn = call.input["resourceArn"]
        match = _ARN.fullmatch(arn)
        if match is None:
            raise errors.invalid(_SERVICE, f"{arn[:128]!r} is no accelerator's ARN.")
        if (match["region"], match["account"]) != (self._plane.settings.region, call.account):
            raise _no_accelerator(match["id"])
        return self._accelerator(match["id"], call)

    def _accelerator(self, accelerator_id: str, call: Call) -> Accelerator:
        found = self._plane.accelerator(accelerator_id)
        if found.account != call.account:
            raise _no_accelerator(accelerator_id)
        if call.caller.instance_id not in {None, found.instance_id}:
            raise AccessDeniedError(
                f"The accelerator {accelerator_id} belongs to another instance.",
                next_step="Use the credentials of the instance that it is attached to.",
            )
        return found


def _ids(call: Call) -> Sequence[str]:
    ids: Sequence[str] = call.input.get("acceleratorIds", [])
    if len(ids) > _MAX_IDS:
        raise errors.invalid(_SERVICE, f"acceleratorIds has up to {_MAX_IDS} ids.")
    for each in ids:
        if not _ID.fullmatch(each):
            raise errors.invalid(_SERVICE, f"{each[:64]!r} is no accelerator's id.")
    return ids


def _described_type(type_: AcceleratorType) -> Document:
    return {
        "acceleratorTypeName": type_.name,
        "memoryInfo": {"sizeInMiB": type_.memory_mib},
        "throughputInfo": [
            {"key": "TFLOPS16bit", "value": round(type_.tflops_fp16)},
            {"key": "TFLOPS32bit", "value": round(type_.tflops_fp32)},
        ],
    }


def _check_keys(keys: Sequence[str] | Mapping[str, str]) -> None:
    for each in keys:
        if each.lower().startswith("aws:"):
            raise errors.invalid(
                _SERVICE, f"The tag {each[:64]!r} begins with aws:, which is for AWS itself."
            )


def _no_accelerator(accelerator_id: str) -> NotFoundError:
    return NotFoundError(
        f"There is no accelerator {accelerator_id[:64]!r}.",
        next_step="aws elastic-inference describe-accelerators lists those there are.",
    )
