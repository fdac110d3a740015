"""The operations of the control API: documents in, documents out, and who may do what."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from elastic_inference.control import names
from elastic_inference.control.accelerator_operations import AcceleratorOperations
from elastic_inference.control.access_operations import AccessOperations
from elastic_inference.control.bill_operations import BillOperations
from elastic_inference.control.caller import Caller
from elastic_inference.control.documents import Document
from elastic_inference.control.host_operations import HostOperations
from elastic_inference.control.instance_operations import InstanceOperations
from elastic_inference.control.network_operations import NetworkOperations
from elastic_inference.control.own_addresses import OwnAddresses
from elastic_inference.control.plane import ControlPlane
from elastic_inference.errors import InvalidRequestError

Operation = Callable[[Document, Caller], Document]
_EXEC = "Exec"


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
        self._hosts = HostOperations(plane, fingerprint)
        self._access = AccessOperations(plane)
        self._instances = InstanceOperations(plane)
        self._operations: Mapping[str, Operation] = {
            **self._instances.operations,
            **AcceleratorOperations(plane, own_addresses).operations,
            **BillOperations(plane).operations,
            **self._hosts.operations,
            **self._access.operations,
            **NetworkOperations(plane).operations,
        }
        # For those who have no credentials yet.
        self._unsigned: Mapping[str, Callable[[Document], Document]] = {
            **self._hosts.unsigned,
            **self._access.unsigned,
        }

    @property
    def names(self) -> list[str]:
        """Every operation that there is."""
        return sorted({*self._operations, *self._unsigned, _EXEC})

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
                next_step=f"Operations: {', '.join(sorted(self._operations))}.",
            )
        # Connect asks with what it knows of the accelerator, and in its own words.
        if operation != "Connect":
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
        return operation in self._unsigned

    def call_unsigned(self, operation: str, document: Document) -> Document:
        """Do an operation for somebody who is nobody yet; see `call`."""
        return self._unsigned[operation](document)

    def _authorise(self, operation: str, document: Document, caller: Caller) -> None:
        region, account = self._plane.settings.region, caller.account
        resource = "*"
        for name, arn in (
            ("acceleratorId", names.accelerator_arn),
            ("instanceId", names.instance_arn),
        ):
            value = document.get(name)
            if isinstance(value, str) and len(value) <= 128:
                resource = arn(region, account, value)
        self._plane.access.authorise(
            caller.principal, f"elastic-inference:{operation}", resource, caller.context
        )
