"""Whether an instance can use its accelerators, and what mends it where it cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from elastic_inference.control import names, records
from elastic_inference.control.access import CONNECT, INSTANCES, Principal, principal_of
from elastic_inference.control.documents import Document
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Accelerator, AccessKey, Instance
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.fleet.base import Health

# A host that was not heard of for so long is taken to be away.
HOST_SILENCE = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that an instance needs.

    Attributes:
        fix: the command that mends it, where something is wrong.
    """

    name: str
    ok: bool
    message: str
    fix: str = ""

    def to_dict(self) -> Document:
        return {"name": self.name, "ok": self.ok, "message": self.message, "fix": self.fix}


def validate(plane: ControlPlane, instance: Instance) -> list[Check]:
    """Everything that an instance needs, in the order in which it is needed."""
    checks = [_state(instance), _role(plane, instance)]
    checks += _network(plane, instance)
    attached = plane.store.accelerators_of(instance.id)
    if not attached:
        checks.append(
            Check(
                "accelerators", ok=False, message="No accelerator is attached.",
                fix=f"ei attach {instance.id} eia1.medium",
            )
        )  # fmt: skip
    for each in attached:
        checks += _accelerator(plane, instance, each)
    if instance.provider == records.HOST:
        checks.append(_heard_of(plane, instance))
    return checks


def _state(instance: Instance) -> Check:
    if instance.state == records.RUNNING:
        return Check("state", ok=True, message=f"The instance {instance.id} runs.")
    reason = f" ({instance.state_reason})" if instance.state_reason else ""
    fix = f"ei start {instance.id}" if instance.state == records.STOPPED else "ei launch"
    return Check(
        "state",
        ok=False,
        message=f"The instance {instance.id} is {instance.state}{reason}.",
        fix=fix,
    )


def _role(plane: ControlPlane, instance: Instance) -> Check:
    name = instance.role_name
    role = plane.store.roles.get(instance.account, name) if name else None
    if role is not None and not plane.access.trusts_instances(role):
        return Check(
            "role", ok=False,
            message=f"Its role {name} does not trust {INSTANCES}, and so it has no credentials.",
            fix=f"aws iam update-assume-role-policy --role-name {name} --policy-document FILE",
        )  # fmt: skip
    if role is not None:
        return Check("role", ok=True, message=f"Its role is {name}.")
    return Check(
        "role", ok=False,
        message=f"The role {name} is gone." if name else "It has no role, and so no credentials.",
        fix=f"ei access role create {name or 'elastic-inference'}",
    )  # fmt: skip


def _network(plane: ControlPlane, instance: Instance) -> Iterator[Check]:
    found = plane.network.obstacles(instance)
    if not any(each.blocking for each in found):
        yield Check("network", ok=True, message="It may reach the endpoint over HTTPS (port 443).")
    for each in found:
        yield Check(f"network: {each.code}", not each.blocking, each.message, each.fix)


def _accelerator(
    plane: ControlPlane, instance: Instance, accelerator: Accelerator
) -> Iterator[Check]:
    status = plane.fleet.status(accelerator.id)
    reason = f": {status.reason}" if status.reason else ""
    ok = status.health is Health.OK
    yield Check(
        f"health of {accelerator.id}", ok,
        f"The {accelerator.type} {accelerator.id} is {status.health.value}{reason}.",
        "" if ok else "It is started again by itself; ei describe accelerators --watch shows when.",
    )  # fmt: skip
    yield _may_connect(plane, instance, accelerator)
    if ok:
        yield _answers(plane, accelerator)


def _may_connect(plane: ControlPlane, instance: Instance, accelerator: Accelerator) -> Check:
    arn = names.accelerator_arn(plane.settings.region, accelerator.account, accelerator.id)
    name = f"{CONNECT} on {accelerator.id}"
    try:
        plane.access.authorise(_as(instance), CONNECT, arn)
        plane.connections.check_endpoint(_as(instance), instance, arn, {})
    except ElasticInferenceError as error:
        return Check(name, ok=False, message=error.message, fix=error.next_step)
    return Check(name, ok=True, message=f"Its role {instance.role_name} allows it.")


def _as(instance: Instance) -> Principal:
    """The instance as a principal, without credentials."""
    return principal_of(
        AccessKey(
            id="", secret="", account=instance.account, kind=records.ROLE,
            name=instance.role_name, session=instance.id, instance_id=instance.id,
        )
    )  # fmt: skip


def _answers(plane: ControlPlane, accelerator: Accelerator) -> Check:
    name = f"an answer of {accelerator.id}"
    began = time.perf_counter()
    try:
        token = plane.connections.own_token(accelerator)
        plane.fleet.ask(accelerator.id, "/v2/elastic-inference/accelerator", token)
    except ElasticInferenceError as error:
        return Check(name, ok=False, message=error.message, fix="ei describe accelerators --watch")
    took = (time.perf_counter() - began) * 1e3
    return Check(name, ok=True, message=f"It answers in {took:.1f} ms.")


def _heard_of(plane: ControlPlane, instance: Instance) -> Check:
    silent = plane.clock.time() - (instance.seen_at or instance.created_at)
    if silent < HOST_SILENCE:
        return Check("agent", ok=True, message=f"Its agent was heard of {silent:.0f} s ago.")
    return Check(
        "agent", ok=False, message=f"Its agent has been silent for {silent:.0f} s.",
        fix="Start ei register on that host again.",
    )  # fmt: skip
