"""Operations on instances."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from elastic_inference.compute.base import MAX_USER_DATA, ExecRequest
from elastic_inference.control import names, records
from elastic_inference.control.caller import (
    Caller,
    long_text,
    number,
    page,
    required,
    tags,
    text,
    texts,
)
from elastic_inference.control.documents import Document
from elastic_inference.control.instance_documents import credentials, document_of
from elastic_inference.control.launch import DEFAULT_ROLE
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Accelerator, Instance
from elastic_inference.errors import InvalidRequestError, NotFoundError

_MAX_LEASE = 86400.0
_PROVIDERS = (records.COMMAND, records.LOCAL)


class InstanceOperations:
    """Run, describe, stop, start, reboot, terminate, attach, exec, validate."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Mapping[str, Callable[[Document, Caller], Document]] = {
            "RunInstance": self._run,
            "DescribeInstances": self._describe,
            "StopInstance": self._stop,
            "StartInstance": self._start,
            "RebootInstance": self._reboot,
            "TerminateInstance": self._terminate,
            "KeepAlive": self._keep_alive,
            "AttachAccelerator": self._attach,
            "GetInstanceDocument": self._document,
            "ValidateInstance": self._validate,
        }

    def _run(self, document: Document, caller: Caller) -> Document:
        provider = text(document, "provider") or records.LOCAL
        if provider not in _PROVIDERS:
            raise InvalidRequestError(f"provider is one of {', '.join(_PROVIDERS)}.")
        fields = launch_fields(document)
        check_pass(self._plane, caller, fields["role_name"])
        instance, accelerators, key = self._plane.run_instance(
            **fields,
            provider=provider,
            account=caller.account,
            client_token=text(document, "clientToken"),
            lease_seconds=number(document, "leaseSeconds", 1, _MAX_LEASE),
            user_data=long_text(document, "userData", MAX_USER_DATA) or "",
        )
        return {
            "instanceId": instance.id,
            "state": instance.state,
            "accelerators": [describe_attached(each) for each in accelerators],
            "credentials": credentials(key),
            "notes": self._notes(instance, accelerators),
        }

    def _notes(self, instance: Instance, accelerators: list[Accelerator]) -> list[str]:
        notes = []
        generations = sorted({each.type.partition(".")[0] for each in accelerators})
        if len(generations) > 1:
            notes.append(
                f"It has accelerators of several generations ({', '.join(generations)}), which"
                " the original did not allow."
            )
        if instance.state_reason:
            notes.append(instance.state_reason)
        return notes

    def _describe(self, document: Document, caller: Caller) -> Document:
        columns = self._plane.store.instances.columns
        conditions = [columns.account == caller.account]
        if (ids := texts(document, "instanceIds")) is not None:
            conditions.append(columns.id.in_(ids))
        if (states := texts(document, "states")) is not None:
            conditions.append(columns.state.in_(states))
        found, more = page(self._plane.store.instances, document, *conditions)
        attached = self._plane.store.accelerators_by_instance([each.id for each in found])
        answer: Document = {
            "instances": [self._describe_one(each, attached[each.id]) for each in found]
        }
        return answer | ({"nextToken": more} if more else {})

    def _describe_one(self, instance: Instance, accelerators: list[Accelerator]) -> Document:
        described: Document = {
            "instanceId": instance.id,
            "name": instance.name,
            "provider": instance.provider,
            "state": instance.state,
            "stateReason": instance.state_reason,
            "acceleratorTypes": list(instance.accelerator_types),
            "acceleratorIds": [each.id for each in accelerators],
            "createTime": instance.created_at,
            "launchTime": instance.launched_at or instance.created_at,
            "endTime": instance.ended_at,
            "roleName": instance.role_name,
            "subnetId": instance.subnet_id,
            "securityGroupIds": list(instance.group_ids),
            "privateIp": instance.private_ip,
            "zone": self._plane.network.zone,
            "tags": dict(instance.tags),
            "lastSeen": instance.seen_at,
        }
        if instance.host:
            described["host"] = dict(instance.host)
        if instance.place:
            described["network"] = instance.place.get("network")
        return described

    def _stop(self, document: Document, caller: Caller) -> Document:
        before, now = self._plane.stop_instance(self._own(document, caller).id)
        return _changed(before, now)

    def _start(self, document: Document, caller: Caller) -> Document:
        before, now = self._plane.start_instance(self._own(document, caller).id)
        return _changed(before, now)

    def _reboot(self, document: Document, caller: Caller) -> Document:
        now = self._plane.reboot_instance(self._own(document, caller).id)
        return _changed(now.state, now)

    def _terminate(self, document: Document, caller: Caller) -> Document:
        before, now = self._plane.terminate(self._own(document, caller).id)
        return _changed(before, now)

    def _keep_alive(self, document: Document, caller: Caller) -> Document:
        self._plane.keep_alive(self._own(document, caller).id)
        return {}

    def _attach(self, document: Document, caller: Caller) -> Document:
        instance = self._own(document, caller)
        made = self._plane.attach(instance.id, required(document, "acceleratorType"))
        return describe_attached(made)

    def _document(self, document: Document, caller: Caller) -> Document:
        instance_id = text(document, "instanceId") or caller.instance_id
        if instance_id is None:
            raise InvalidRequestError("instanceId is missing.")
        instance = self._own({"instanceId": instance_id}, caller)
        if caller.principal.key.kind == records.REGISTERED:
            # What a failure of the power takes back is said again soon.
            with self._plane.store.transaction(durable=False):
                self._plane.store.set_instance(instance.id, seen_at=self._plane.clock.time())
        found = document_of(self._plane, instance)
        return found if self._may_act_as(instance, caller) else {**found, "credentials": None}

    def _may_act_as(self, instance: Instance, caller: Caller) -> bool:
        """Whether the caller may have the role's credentials: as who may run commands there."""
        if caller.instance_id == instance.id:
            return True
        arn = names.instance_arn(self._plane.settings.region, instance.account, instance.id)
        decision = self._plane.access.decide(
            caller.principal, "elastic-inference:Exec", arn, caller.context
        )
        return decision is None or decision.allowed

    def _validate(self, document: Document, caller: Caller) -> Document:
        from elastic_inference.control.validation import validate  # noqa: PLC0415 - seldom used

        checks = validate(self._plane, self._own(document, caller))
        return {"checks": [each.to_dict() for each in checks]}

    def prepare_exec(self, document: Document, caller: Caller) -> Callable[[socket.socket], None]:
        """What serves a command over a connection, once that was agreed to."""
        compute = self._plane.compute
        instance = self._plane.running(self._own(document, caller).id)
        if compute is None or instance.provider != records.LOCAL:
            raise InvalidRequestError(
                f"The instance {instance.id} is a {instance.provider}: commands run where it is.",
                next_step="Use ei run -- COMMAND on its own machine.",
            )
        request = ExecRequest.of(document)
        compute.check(instance.id)
        return lambda connection: compute.execute(instance.id, request, connection)

    def _own(self, document: Document, caller: Caller) -> Instance:
        """The instance that a document names, if the caller may see it."""
        instance = self._plane.instance(required(document, "instanceId"))
        foreign = caller.instance_id not in {None, instance.id}
        if foreign or instance.account != caller.account:
            raise NotFoundError(
                f"There is no instance {instance.id!r} of yours.",
                next_step="An instance's credentials are for itself.",
            )
        return instance


def launch_fields(document: Document) -> dict[str, Any]:
    """What `LaunchRequest` takes of a document, whoever launches."""
    types = document.get("acceleratorTypes", [])
    if not isinstance(types, list) or not all(isinstance(each, str) for each in types):
        raise InvalidRequestError("acceleratorTypes must be a list of names.")
    return {
        "accelerator_types": tuple(types),
        "name": text(document, "name") or "",
        "role_name": text(document, "roleName"),
        "subnet_id": text(document, "subnetId"),
        "group_ids": texts(document, "securityGroupIds"),
        "tags": tags(document),
    }


def check_pass(plane: ControlPlane, caller: Caller, role: str | None) -> None:
    """Refuse who may not give a role to instances; the default one they have anyway.

    Raises:
        AccessDeniedError: no policy lets the caller pass it.
    """
    if role not in {None, DEFAULT_ROLE}:
        plane.access.authorise_pass(caller.principal, role, caller.context)


def describe_attached(accelerator: Accelerator) -> Document:
    """An accelerator in the answer of who asked for it."""
    return {
        "acceleratorId": accelerator.id,
        "acceleratorType": accelerator.type,
        "associationId": accelerator.association_id,
    }


def _changed(before: str, now: Instance) -> Document:
    return {"instanceId": now.id, "previousState": before, "state": now.state}
