"""The operations of the control API: documents in, documents out, and who may do what."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

from elastic_inference.control import names
from elastic_inference.control.accelerator_operations import AcceleratorOperations
from elastic_inference.control.caller import Caller
from elastic_inference.control.documents import Document
from elastic_inference.control.instance_operations import InstanceOperations
from elastic_inference.control.own_addresses import OwnAddresses
from elastic_inference.control.plane import ControlPlane
from elastic_inference.errors import InvalidRequestError

Operation = Callable[[Document, Caller], Document]
Unsigned = Callable[[Document], Document]
_EXEC = "Exec"
_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class Upgrade:
    """An answer that goes on as a conversation over the same connection."""

    talk: Callable[[socket.socket], None]


class Operations:
    """The control API over a control plane.

    Args:
        fingerprint: SHA-256 of the pool's authority, hex.
    """

    def __init__(self, plane: ControlPlane, own_addresses: OwnAddresses, fingerprint: str) -> None:
        self._plane = plane
        self._fingerprint = fingerprint
        self._listening_on = own_addresses.host
        self._instances = InstanceOperations(plane)
        # Those that every `ei run` needs.
        self._usual: Mapping[str, Operation] = {
            **self._instances.operations,
            **AcceleratorOperations(plane, own_addresses).operations,
        }

    @cached_property
    def _more(self) -> tuple[Mapping[str, Operation], Mapping[str, Unsigned]]:
        """The others, and those for who has no credentials yet: loaded once they are needed."""
        from elastic_inference.control.access_operations import AccessOperations  # noqa: PLC0415
        from elastic_inference.control.bill_operations import BillOperations  # noqa: PLC0415
        from elastic_inference.control.host_operations import HostOperations  # noqa: PLC0415
        from elastic_inference.control.network_operations import (  # noqa: PLC0415
            NetworkOperations,
        )
        from elastic_inference.control.pool_operations import PoolOperations  # noqa: PLC0415

        hosts = HostOperations(self._plane, self._fingerprint, self._listening_on)
        access = AccessOperations(self._plane)
        pool = PoolOperations(self._plane)
        signed = {
            **BillOperations(self._plane).operations,
            **hosts.operations,
            **access.operations,
            **NetworkOperations(self._plane).operations,
            **pool.operations,
        }
        return signed, {**hosts.unsigned, **access.unsigned, **pool.unsigned}

    @property
    def names(self) -> list[str]:
        """Every operation that there is."""
        signed, unsigned = self._more
        return sorted({*self._usual, *signed, *unsigned, _EXEC})

    def call(self, operation: str, document: Document, caller: Caller) -> Document:
        """Do `operation`.

        Raises:
            InvalidRequestError: no such operation, or the document is not one for it.
            AccessDeniedError: the caller may not do it.
            ElasticInferenceError: whatever the operation raises.
        """
        do = self._usual.get(operation) or self._more[0].get(operation)
        if do is None:
            raise InvalidRequestError(
                f"There is no operation {operation[:64]!r}.",
                next_step=f"Operations: {', '.join(self.names)}.",
            )
        # Connect asks with what it knows of the accelerator, and in its own words. What a pool
        # says of itself is for everybody whom it knows.
        if operation not in {"Connect", "DescribePool"}:
            self._authorise(operation, document, caller)
        return do(document, caller)

    def upgrade(self, operation: str, document: Document, caller: Caller) -> Upgrade | None:
        """What `Exec` goes on with; None for every other operation.

        Raises:
            ElasticInferenceError: as `call`.
        """
        if operation != _EXEC:
            return None
        self._authorise(operation, document, caller)
        return Upgrade(self._instances.prepare_exec(document, caller))

    def takes_unsigned(self, operation: str) -> bool:
        """Whether an operation is for those who have no credentials yet."""
        return operation in self._more[1]

    def call_unsigned(self, operation: str, document: Document) -> Document:
        """Do an operation for somebody who is nobody yet; see `call`."""
        return self._more[1][operation](document)

    def _authorise(self, operation: str, document: Document, caller: Caller) -> None:
        region, account = self._plane.settings.region, caller.account
        found = {name: document[name] for name in _NAMING if _is_name(document.get(name))}
        if (tagged := document.get("resourceId")) and _is_name(tagged):
            # It may be an ARN.
            of = tagged.rpartition("/")[2]
            found |= {"acceleratorId" if of.startswith("eia-") else "instanceId": of}
        if operation in _WITH_ROLES:
            # What is launched is nothing of a role's; whether that may be passed is asked there.
            found.pop("roleName", None)
        for resource in [_NAMING[name](region, account, each) for name, each in found.items()] or [
            "*"
        ]:
            self._plane.access.authorise(
                caller.principal, f"elastic-inference:{operation}", resource, caller.context
            )


_WITH_ROLES = frozenset({"RunInstance", "CreateJoinToken"})
# What a document's members name, as policies do.
_NAMING: Mapping[str, Callable[[str, str, str], str]] = {
    "acceleratorId": names.accelerator_arn,
    "instanceId": names.instance_arn,
    "userName": lambda _, account, name: names.user_arn(account, name),
    "roleName": lambda _, account, name: names.role_arn(account, name),
    "policyName": lambda _, account, name: names.policy_arn(account, name),
}


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME
