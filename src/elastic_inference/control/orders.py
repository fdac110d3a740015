"""What the fleet is told of an accelerator, from what the store knows of it."""

from __future__ import annotations

from collections.abc import Sequence

from elastic_inference.catalog import Catalog
from elastic_inference.control.certificates import Authority, server_name
from elastic_inference.control.clock import Clock
from elastic_inference.control.records import Accelerator
from elastic_inference.control.store import Store
from elastic_inference.fleet.base import Order, Placement


class Orders:
    """Makes orders, each with a new certificate.

    Args:
        reached_at: what leads to accelerators with addresses of their own: names and addresses.
    """

    def __init__(
        self,
        store: Store,
        authority: Authority,
        catalog: Catalog,
        clock: Clock,
        reached_at: Sequence[str],
    ) -> None:
        self._store = store
        self._authority = authority
        self._catalog = catalog
        self._clock = clock
        self._reached_at = reached_at

    def order(self, accelerator: Accelerator) -> Order:
        """The order for an accelerator.

        Raises:
            InvalidRequestError: its type has left the catalogue.
        """
        name = server_name(accelerator.id)
        # Only those with an address of their own may speak for this machine's name.
        more = () if accelerator.own_port is None else self._reached_at
        issued = self._authority.issue([name, *more])
        return Order(
            accelerator_id=accelerator.id,
            accelerator_type=self._catalog.get(accelerator.type),
            account=accelerator.account,
            token_key=accelerator.token_key,
            server_name=name,
            certificate=issued.certificate,
            private_key=issued.private_key,
            placement=Placement.from_dict(accelerator.placement),
            revoked=self._revoked(accelerator.id),
            clients=self._clients(accelerator),
        )

    def _clients(self, accelerator: Accelerator) -> tuple[int, ...]:
        """The user of its instance, where that has one of its own on this machine."""
        instance = self._store.instances.get(accelerator.instance_id)
        uid = None if instance is None else instance.place.get("uid")
        return () if uid is None else (int(uid),)

    def _revoked(self, accelerator_id: str) -> tuple[str, ...]:
        columns = self._store.rights.columns
        found = self._store.rights.where(
            columns.accelerator_id == accelerator_id,
            columns.revoked,
            columns.expires_at > self._clock.time(),
        )
        return tuple(each.id for each in found)
