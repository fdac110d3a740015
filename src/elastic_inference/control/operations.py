"""The operations of the control API: documents in, documents out, and who may do what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from elastic_inference.control.certificates import server_name
from elastic_inference.control.documents import Document, describe_type
from elastic_inference.control.own_addresses import OwnAddresses
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.reachable import without_mapping
from elastic_inference.control.store import Accelerator, AccessKey, Instance
from elastic_inference.errors import (
    AccessDeniedError,
    ElasticInferenceError,
    InvalidRequestError,
    UnavailableError,
)

_MAX_LEASE = 86400.0
# The setting bounds it further.
_MAX_LIFETIME = 3650 * 86400.0
_MAX_IDS = 100
_TEXT = re.compile(r"[ -~]{0,128}")
# What an instance may do with its own credentials.
_OF_INSTANCES = frozenset({"Connect", "DescribeAccelerators", "DescribeAcceleratorTypes"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how.

    Attributes:
        instance_id: the instance whose credentials were used; None for the account's own.
        host, port: the address of the endpoint that was reached.
    """

    instance_id: str | None
    host: str
    port: int

    @classmethod
    def of(cls, key: AccessKey, host: str, port: int) -> Caller:
        """The caller with `key` on a connection whose own end is `host` and `port`."""
        return cls(key.instance_id, without_mapping(host), port)


class Operations:
    """The control API over a control plane."""

    def __init__(self, plane: ControlPlane, own_addresses: OwnAddresses) -> None:
        self._plane = plane
        self._own_addresses = own_addresses
        self._operations: Mapping[str, Callable[[Document, Caller], Document]] = {
            "RunInstance": self._run_instance,
            "KeepAlive": self._keep_alive,
            "TerminateInstance": self._terminate_instance,
            "DescribeAccelerators": self._describe_accelerators,
            "DescribeAcceleratorTypes": self._describe_types,
            "DescribeInstances": self._describe_instances,
            "Connect": self._connect,
        }

    def call(self, operation: str, document: Document, caller: Caller) -> Document:
        """Do `operation`.

        Raises:
            InvalidRequestError: no such operation, or the document is not one for it.
            AccessDeniedError: the caller may not do it.
            ElasticInferenceError: whatever the operation raises.
        """
        do = self._operations.get(operation)
        if do is None:
            raise InvalidRequestError(
                f"There is no operation {operation[:64]!r}.",
                next_step=f"Operations: {', '.join(self._operations)}.",
            )
        if caller.instance_id is not None and operation not in _OF_INSTANCES:
            raise AccessDeniedError(f"An instance's credentials do not allow {operation}.")
        return do(document, caller)

    def _run_instance(self, document: Document, caller: Caller) -> Document:
        del caller
        types = document.get("acceleratorTypes")
        if not isinstance(types, list) or not all(isinstance(each, str) for each in types):
            raise InvalidRequestError("acceleratorTypes must be a list of names.")
        lease = _seconds(document, "leaseSeconds", 1, _MAX_LEASE)
        instance, accelerators, key = self._plane.run_instance(
            types,
            client_token=_text(document, "clientToken"),
            lease_seconds=lease,
            name=_text(document, "name") or "",
        )
        return {
            "instanceId": instance.id,
            "accelerators": [
                {
                    "acceleratorId": each.id,
                    "acceleratorType": each.type,
                    "associationId": each.association_id,
                }
                for each in accelerators
            ],
            "credentials": {"accessKeyId": key.id, "secretAccessKey": key.secret},
        }

    def _keep_alive(self, document: Document, caller: Caller) -> Document:
        del caller
        self._plane.keep_alive(_required(document, "instanceId"))
        return {}

    def _terminate_instance(self, document: Document, caller: Caller) -> Document:
        del caller
        instance_id = _required(document, "instanceId")
        self._plane.terminate(instance_id)
        return {"instanceId": instance_id, "state": "terminated"}

    def _describe_accelerators(self, document: Document, caller: Caller) -> Document:
        ids = document.get("acceleratorIds")
        if ids is None:
            found = self._plane.store.accelerators(caller.instance_id)
        else:
            if not isinstance(ids, list) or len(ids) > _MAX_IDS:
                raise InvalidRequestError(f"acceleratorIds must be a list of at most {_MAX_IDS}.")
            found = [self._plane.accelerator(str(each)) for each in ids]
            for each in found:
                _check_owner(each, caller)
        return {"accelerators": [self._describe(each, caller) for each in found]}

    def _describe(self, accelerator: Accelerator, caller: Caller) -> Document:
        status = self._plane.fleet.status(accelerator.id)
        described: Document = {
            "acceleratorId": accelerator.id,
            "acceleratorType": accelerator.type,
            "health": status.health.value,
            "instanceId": accelerator.instance_id,
            "memoryUsed": None,
            "memoryLimit": accelerator.placement["memory_bytes"],
            "device": accelerator.placement["device"],
            "node": accelerator.placement["node"],
            "startedAt": accelerator.created_at,
            "restarts": status.restarts,
            "ownAddress": None,
        }
        port = self._own_addresses.port_of(accelerator.id)
        if port is not None:
            described["ownAddress"] = {"host": caller.host, "port": port}
        try:
            _, token, _ = self._plane.connect(accelerator.id, on_behalf_of="control")
            ask = self._plane.fleet.ask
            memory = ask(accelerator.id, "/v2/elastic-inference/accelerator", token)["memory"]
            described["memoryUsed"] = memory["used"]
            if "peak" in memory:
                described["memoryPeak"] = memory["peak"]
            described["usage"] = ask(accelerator.id, "/v2/elastic-inference/usage", token)
        except (ElasticInferenceError, KeyError, TypeError):
            # One that does not answer is described without what only it knows.
            pass
        return described

    def _describe_types(self, document: Document, caller: Caller) -> Document:
        del document, caller
        return {"acceleratorTypes": [describe_type(each) for each in self._plane.catalog.types]}

    def _describe_instances(self, document: Document, caller: Caller) -> Document:
        del document, caller
        return {
            "instances": [
                _describe_instance(each, self._plane.store.accelerators(each.id))
                for each in self._plane.store.instances()
            ]
        }

    def _connect(self, document: Document, caller: Caller) -> Document:
        accelerator_id = _required(document, "acceleratorId")
        own_address = document.get("ownAddress", False)
        if not isinstance(own_address, bool):
            raise InvalidRequestError("ownAddress must be true or false.")
        lifetime = _seconds(document, "expiresIn", 1, _MAX_LIFETIME)
        _check_owner(self._plane.accelerator(accelerator_id), caller)
        accelerator, token, expires = self._plane.connect(
            accelerator_id,
            on_behalf_of=caller.instance_id or "account",
            lifetime=lifetime,
        )
        answer: Document = {
            "acceleratorId": accelerator.id,
            "acceleratorType": accelerator.type,
            "serverName": server_name(accelerator.id),
            "host": caller.host,
            "port": caller.port,
            "token": token,
            "expires": expires,
        }
        local = self._local_address(accelerator.id)
        if local is not None:
            answer["local"] = local
        if own_address:
            port = self._own_addresses.open(accelerator.id)
            answer["ownAddress"] = {"host": caller.host, "port": port}
        return answer

    def _local_address(self, accelerator_id: str) -> dict[str, str] | None:
        try:
            return self._plane.fleet.local_address(accelerator_id)
        except ElasticInferenceError as error:
            raise UnavailableError(
                f"The accelerator {accelerator_id} does not run now.",
                next_step="It is being started again; try once more in a moment.",
                accelerator_id=accelerator_id,
            ) from error


def _describe_instance(instance: Instance, accelerators: list[Accelerator]) -> Document:
    return {
        "instanceId": instance.id,
        "name": instance.name,
        "state": instance.state,
        "acceleratorTypes": list(instance.accelerator_types),
        "acceleratorIds": [each.id for each in accelerators],
        "launchTime": instance.created_at,
        "endTime": instance.ended_at,
    }


def _check_owner(accelerator: Accelerator, caller: Caller) -> None:
    if caller.instance_id not in (None, accelerator.instance_id):
        raise AccessDeniedError(
            "The accelerator belongs to another instance.",
            next_step="Use the credentials of the instance that it is attached to.",
            accelerator_id=accelerator.id,
        )


def _seconds(document: Document, name: str, least: float, most: float) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidRequestError(f"{name} must be from {least:.0f} to {most:.0f}.")
    return value


def _text(document: Document, name: str) -> str | None:
    value = document.get(name)
    if value is not None and not (isinstance(value, str) and _TEXT.fullmatch(value)):
        raise InvalidRequestError(f"{name} must be a text of at most 128 printable characters.")
    return value or None


def _required(document: Document, name: str) -> str:
    value = _text(document, name)
    if value is None:
        raise InvalidRequestError(f"{name} is missing.")
    return value
