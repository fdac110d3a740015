"""A pool whose store has many accelerators, for `benchmarks.control`.

So many processes run on no machine that a benchmark has, so the fleet says of those that are only
written down that they are well. All else is the product: the store, the API, the endpoint.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from elastic_inference.control import records
from elastic_inference.control.metering import Meter
from elastic_inference.control.pool import Pool
from elastic_inference.control.records import ACCOUNT, Accelerator, Instance
from elastic_inference.control.store import Store
from elastic_inference.fleet.base import Health, Status
from elastic_inference.fleet.local import LocalFleet
from elastic_inference.settings import Limits, PoolSettings

_PREFIX = "eia-" + "f" * 8
_OF_AN_INSTANCE = 5


class CrowdedFleet(LocalFleet):
    """This machine's fleet, and what is only written down."""

    def status(self, accelerator_id: str) -> Status:
        if accelerator_id.startswith(_PREFIX):
            return Status(Health.OK, 0)
        return super().status(accelerator_id)

    def local_address(self, accelerator_id: str) -> dict[str, object] | None:
        if accelerator_id.startswith(_PREFIX):
            return None
        return super().local_address(accelerator_id)


def accelerator_id(number: int) -> str:
    """The id of one that is only written down."""
    return f"{_PREFIX}{number:024x}"


def fill(store: Store, meter: Meter, count: int) -> None:
    """Write down `count` accelerators of running instances, each of them billed."""
    now = 1_700_000_000.0
    with store.transaction():
        seat = store.subnets.where()[0]
        groups = tuple(each.id for each in store.groups.where() if each.name == "default")
        for number in range(count):
            owner = f"i-{number // _OF_AN_INSTANCE:017x}"
            if number % _OF_AN_INSTANCE == 0:
                store.instances.add(
                    Instance(
                        id=owner, state=records.RUNNING, role_name="elastic-inference",
                        accelerator_types=("eia1.medium",) * _OF_AN_INSTANCE,
                        subnet_id=seat.id, group_ids=groups, private_ip="172.31.1.1",
                        created_at=now + number,
                    )
                )  # fmt: skip
            accelerator = Accelerator(
                id=accelerator_id(number), type="eia1.medium", account=ACCOUNT,
                instance_id=owner, association_id=f"eia-assoc-{number:017x}",
                state=records.ASSOCIATED, token_key=b"k" * 32, health="ok",
                placement={
                    "node": "crowd", "device": "cpu", "memory_bytes": 1 << 30, "threads": 1,
                    "percentage": 100, "place": f"{number:012x}",
                },
                created_at=now + number,
            )  # fmt: skip
            store.accelerators.add(accelerator)
            meter.begin(accelerator)


def main() -> None:
    home, count = Path(sys.argv[1]), int(sys.argv[2])
    pool = Pool(
        home / "pool",
        settings=PoolSettings(home=home),
        limits=Limits(),
        outlive=True,
        fleet_type=CrowdedFleet,
    )
    fill(pool.plane.store, pool.plane.meter, count)
    print(json.dumps(dataclasses.asdict(pool.pointer)), flush=True)
    sys.stdin.read()
    pool.close()


if __name__ == "__main__":
    main()
