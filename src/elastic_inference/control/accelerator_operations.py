"""Operations on accelerators and nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from elastic_inference.control import names
from elastic_inference.control.billing import Prices
from elastic_inference.control.caller import (
    Caller,
    check_tag_keys,
    flag,
    number,
    page,
    required,
    tags,
    text,
    texts,
)
from elastic_inference.control.certificates import server_name
from elastic_inference.control.documents import Document, describe_device, describe_type
from elastic_inference.control.own_addresses import OwnAddresses
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Accelerator
from elastic_inference.errors import (
    AccessDeniedError,
    ElasticInferenceError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.fleet.base import NodeReport

# The setting bounds it further.
_MAX_LIFETIME = 3650 * 86400.0
# How long the accelerators of one page are asked how they are; the rest is told without.
_ASKING = 0.05  # seconds


class AcceleratorOperations:
    """Describe, connect, detach, tag."""

    def __init__(self, plane: ControlPlane, own_addresses: OwnAddresses) -> None:
        self._plane = plane
        self._own_addresses = own_addresses
        self.operations: Mapping[str, Callable[[Document, Caller], Document]] = {
            "DescribeAccelerators": self._describe,
            "DescribeAcceleratorTypes": self._describe_types,
            "DescribeNodes": self._describe_nodes,
            "Connect": self._connect,
            "DetachAccelerator": self._detach,
            "TagResource": self._tag,
            "UntagResource": self._untag,
        }

    def _describe(self, document: Document, caller: Caller) -> Document:
        columns = self._plane.store.accelerators.columns
        conditions = [columns.account == caller.account]
        more = None
        instance_id = text(document, "instanceId") or caller.instance_id
        if instance_id is not None:
            conditions.append(columns.instance_id == instance_id)
        ids = texts(document, "acceleratorIds")
        if ids is not None:
            found = [self._plane.accelerator(each) for each in ids]
            for each in found:
                _check_owner(each, caller)
        else:
            found, more = page(self._plane.store.accelerators, document, *conditions)
        answer: Document = {"accelerators": self._describe_all(found, caller)}
        return answer | ({"nextToken": more} if more else {})

    def _describe_all(self, found: list[Accelerator], caller: Caller) -> list[Document]:
        prices, now = self._plane.billing.prices(), self._plane.clock.time()
        until = time.monotonic() + _ASKING
        described = []
        for number_, each in enumerate(found):
            # The first one is always asked, so that who asks for one hears of it.
            asked = number_ == 0 or time.monotonic() < until
            described.append(self._describe_one(each, caller, prices.at(each.type, now), asked))
        return described

    def _describe_one(
        self, accelerator: Accelerator, caller: Caller, price: float, asked: bool
    ) -> Document:
        status = self._plane.fleet.status(accelerator.id)
        settings = self._plane.settings
        described: Document = {
            "acceleratorId": accelerator.id,
            "arn": names.accelerator_arn(settings.region, accelerator.account, accelerator.id),
            "acceleratorType": accelerator.type,
            "health": status.health.value,
            "healthReason": status.reason,
            "instanceId": accelerator.instance_id,
            "associationId": accelerator.association_id,
            "associationState": accelerator.state,
            "memoryUsed": None,
            "memoryLimit": accelerator.placement["memory_bytes"],
            "device": accelerator.placement["device"],
            "node": accelerator.placement["node"],
            "bestEffort": accelerator.placement["device"] == "cpu",
            "startedAt": accelerator.created_at,
            "restarts": status.restarts,
            "pricePerHour": price,
            "tags": dict(accelerator.tags),
            "ownAddress": None,
        }
        port = self._own_addresses.port_of(accelerator.id)
        if port is not None:
            described["ownAddress"] = {"host": caller.host, "port": port}
        if asked:
            self._ask(accelerator, described)
        return described

    def _ask(self, accelerator: Accelerator, described: Document) -> None:
        """Add what only the accelerator knows, if it answers."""
        try:
            token = self._plane.connections.own_token(accelerator)
            ask = self._plane.fleet.ask
            memory = ask(accelerator.id, "/v2/elastic-inference/accelerator", token)["memory"]
            described["memoryUsed"] = memory["used"]
            if "peak" in memory:
                described["memoryPeak"] = memory["peak"]
            described["usage"] = ask(accelerator.id, "/v2/elastic-inference/usage", token)
        except (ElasticInferenceError, KeyError, TypeError):
            pass

    def _describe_types(self, document: Document, caller: Caller) -> Document:
        del document, caller
        prices: Prices = self._plane.billing.prices()
        now = self._plane.clock.time()
        reports = self._plane.fleet.nodes()
        best_effort = bool(reports) and all(each.best_effort for each in reports)
        answer: Document = {
            "acceleratorTypes": [
                describe_type(each, prices.at(each.name, now)) for each in self._plane.catalog.types
            ],
            "bestEffort": best_effort,
        }
        if best_effort:
            answer["virtualTflops"] = self._plane.settings.virtual_tflops
        return answer

    def _describe_nodes(self, document: Document, caller: Caller) -> Document:
        del document, caller
        return {"nodes": [_describe_node(each) for each in self._plane.fleet.nodes()]}

    def _connect(self, document: Document, caller: Caller) -> Document:
        accelerator_id, own_address = (
            required(document, "acceleratorId"),
            flag(document, "ownAddress"),
        )
        lifetime = number(document, "expiresIn", 1, _MAX_LIFETIME)
        accelerator = self._plane.accelerator(accelerator_id)
        granted = self._plane.connections.connect(
            caller.principal,
            accelerator,
            nonce=caller.nonce,
            context=caller.context,
            lifetime=lifetime,
        )
        answer: Document = {
            "acceleratorId": accelerator.id,
            "acceleratorType": accelerator.type,
            "serverName": server_name(accelerator.id),
            "host": caller.host,
            "port": caller.port,
            "token": granted.token,
            "expires": granted.expires,
        }
        local = self._local_address(accelerator.id)
        if local is not None:
            answer["local"] = local
        if own_address:
            port = self._own_addresses.open(accelerator.id)
            answer["ownAddress"] = {"host": caller.host, "port": port}
        return answer

    def _local_address(self, accelerator_id: str) -> Mapping[str, object] | None:
        try:
            return self._plane.fleet.local_address(accelerator_id)
        except ElasticInferenceError as error:
            raise UnavailableError(
                f"The accelerator {accelerator_id} does not run now.",
                next_step="It is being started again; try once more in a moment.",
                accelerator_id=accelerator_id,
            ) from error

    def _detach(self, document: Document, caller: Caller) -> Document:
        accelerator = self._plane.accelerator(required(document, "acceleratorId"))
        _check_owner(accelerator, caller)
        self._plane.detach(accelerator.id)
        return {"acceleratorId": accelerator.id, "instanceId": accelerator.instance_id}

    def _tag(self, document: Document, caller: Caller) -> Document:
        return self._change_tags(document, caller, tags(document), [])

    def _untag(self, document: Document, caller: Caller) -> Document:
        keys = texts(document, "tagKeys")
        if not keys:
            raise InvalidRequestError("tagKeys is missing.")
        check_tag_keys(keys)
        return self._change_tags(document, caller, {}, keys)

    def _change_tags(
        self, document: Document, caller: Caller, given: Mapping[str, str], remove: list[str]
    ) -> Document:
        resource = required(document, "resourceId").rpartition("/")[2]
        if resource.startswith("eia-"):
            _check_owner(self._plane.accelerator(resource), caller)
        elif caller.instance_id not in {None, resource}:
            raise AccessDeniedError("An instance's credentials are for itself.")
        self._plane.tag(resource, given, remove)
        return {}


def _check_owner(accelerator: Accelerator, caller: Caller) -> None:
    if accelerator.account != caller.account:
        raise NotFoundError(f"There is no accelerator {accelerator.id!r}.")
    if caller.instance_id not in {None, accelerator.instance_id}:
        raise AccessDeniedError(
            "The accelerator belongs to another instance.",
            next_step="Use the credentials of the instance that it is attached to.",
            accelerator_id=accelerator.id,
        )


def _describe_node(report: NodeReport) -> Document:
    return {
        "node": report.node,
        "bestEffort": report.best_effort,
        "devices": [describe_device(each) for each in report.devices],
    }
