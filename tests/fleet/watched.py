"""A local fleet whose changes a test sees."""

from __future__ import annotations

import queue
from pathlib import Path

from elastic_inference.catalog import Catalog
from elastic_inference.control.certificates import Authority, server_name
from elastic_inference.fleet.base import Fleet, Health, Order, Placement, Status
from elastic_inference.fleet.local import LocalFleet
from elastic_inference.protocol import tokens
from elastic_inference.settings import Limits, PoolSettings
from tests.pools import PATIENCE, accelerator_pids

KEY = b"k" * 32
ACCOUNT = "000000000000"
INFO = "/v2/elastic-inference/accelerator"


class Watched:
    """A fleet with the changes of health that it reported."""

    def __init__(self, directory: Path, *, outlive: bool = False, **settings: object) -> None:
        self.state = directory
        self.authority = Authority.open(directory)
        self.changes: queue.Queue[tuple[str, Status]] = queue.Queue()
        self.fleet: Fleet = LocalFleet(
            directory / "run",
            directory / "accounts",
            settings=PoolSettings(home=directory, health_interval=0.1, **settings),  # type: ignore[arg-type]  # by name
            limits=Limits(control_grace=PATIENCE),
            outlive=outlive,
        )
        self.moves: queue.Queue[tuple[str, Placement]] = queue.Queue()
        self.fleet.watch(lambda accelerator_id, status: self.changes.put((accelerator_id, status)))
        self.fleet.watch_moves(lambda *move: self.moves.put(move))

    def order(self, type_: str = "eia1.medium", number: int = 1) -> Order:
        accelerator_id = f"eia-{number:032x}"
        accelerator_type = Catalog().get(type_)
        issued = self.authority.issue([server_name(accelerator_id)])
        return Order(
            accelerator_id=accelerator_id,
            accelerator_type=accelerator_type,
            account=ACCOUNT,
            token_key=KEY,
            server_name=server_name(accelerator_id),
            certificate=issued.certificate,
            private_key=issued.private_key,
            placement=self.fleet.place(accelerator_type),
        )

    def next_change(self) -> tuple[str, Health]:
        accelerator_id, status = self.changes.get(timeout=PATIENCE)
        return accelerator_id, status.health

    def pid(self, order: Order) -> int:
        return accelerator_pids(self.state)[order.accelerator_id]

    def until(self, order: Order, health: Health) -> Status:
        """Wait for that health; the status that says so."""
        while True:
            accelerator_id, status = self.changes.get(timeout=PATIENCE)
            if (accelerator_id, status.health) == (order.accelerator_id, health):
                return status

    def ask(self, order: Order, path: str = INFO, right: str = "") -> dict[str, object]:
        claims = tokens.Claims(order.accelerator_id, "i-1", ACCOUNT, 1e12, right)
        return self.fleet.ask(order.accelerator_id, path, tokens.mint(KEY, claims))
