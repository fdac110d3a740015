"""Compares everything that is on the machine and in the database with the model."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.control.client import ControlClient
from tests.faults.history.expected import (
    ABSENT,
    RUNNING,
    STOPPED,
    TERMINATED,
    Expected,
    State,
)
from tests.faults.history.sampler import Life
from tests.faults.history.scene import Scene

# What the control plane may need after a restart: to end what was begun, to start what died.
PATIENCE = 40.0
_PAUSE = 0.1
_NAMESPACES = Path("/run/netns")
_WAYS = {"pending", "stopping", "shutting-down"}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """What the database and the API say at one moment at which nothing is asked."""

    instances: dict[str, Row]
    accelerators: dict[str, Row]
    usage: list[Row]
    keys: list[Row]
    nodes: list[Row]
    prices: list[Row]


def take(scene: Scene) -> Picture:
    path = scene.plane.state / "pool.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row

        def rows(table: str) -> list[Row]:
            return [dict(each) for each in database.execute(f"SELECT * FROM {table}")]  # noqa: S608

        database.execute("BEGIN")
        instances, accelerators = rows("instances"), rows("accelerators")
        usage, keys, prices = rows("usage"), rows("access_keys"), rows("prices")
    for each in accelerators:
        each["placement"] = json.loads(each["placement"])
    for each in instances:
        for name in ("tags", "place", "accelerator_types"):
            each[name] = json.loads(each[name])
    nodes = ControlClient(scene.plane.pointer(), 60.0).call("DescribeNodes", {})["nodes"]
    return Picture(
        {each["id"]: each for each in instances},
        {each["id"]: each for each in accelerators},
        usage, keys, nodes, prices,
    )  # fmt: skip


def inspect(scene: Scene) -> None:
    """Wait until all is as it should be; complain of what is not after all."""
    deadline = time.monotonic() + PATIENCE
    while True:
        picture = take(scene)
        wrong = unsettled(scene, picture)
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(_PAUSE)
    scene.complain(*wrong)
    scene.complain(*_unexpected(scene, picture))


def unsettled(scene: Scene, picture: Picture) -> list[str]:
    """What is not as it must be once the control plane has done what it had to do."""
    alive = scene.sampler.alive()
    return [
        *_rows(picture),
        *_processes(picture, alive),
        *_places(scene, picture),
        *_capacity(picture),
        *_metering(picture),
    ]


def _rows(picture: Picture) -> list[str]:
    wrong = [
        f"{each['id']} stays {each['state']}: {each['state_reason']}"
        for each in picture.instances.values()
        if each["state"] in _WAYS
    ]
    for each in picture.accelerators.values():
        owner = picture.instances.get(each["instance_id"])
        if owner is None or owner["state"] != RUNNING or each["state"] != "associated":
            state = None if owner is None else owner["state"]
            wrong.append(f"{each['id']} is {each['state']} with an instance that is {state}")
        if each["health"] != "ok":
            wrong.append(f"{each['id']} is {each['health']}: {each['health_reason']}")
    for key in ("place", "uid"):
        used = Counter(each["placement"][key] for each in picture.accelerators.values())
        wrong += [
            f"{key} {value} is used {n} times" for value, n in used.items() if n > 1 and value
        ]
    for each in picture.keys:
        instance_id = each["instance_id"]
        if instance_id is not None and (
            instance_id not in picture.instances
            or picture.instances[instance_id]["state"] == TERMINATED
        ):
            wrong.append(f"{instance_id} has ended and has the access key {each['id']}")
    return wrong


def _processes(picture: Picture, alive: Sequence[Life]) -> list[str]:
    count = Counter(each.accelerator_id for each in alive)
    wrong = [
        f"{accelerator_id} has {count[accelerator_id]} processes"
        for accelerator_id in picture.accelerators
        if count[accelerator_id] != 1
    ]
    for life in alive:
        row = picture.accelerators.get(life.accelerator_id)
        if row is None:
            wrong.append(f"process {life.pid} of {life.accelerator_id}, which is no more")
        elif (life.place, life.uid) != (row["placement"]["place"], _uid(row)):
            wrong.append(f"{life} is not where {life.accelerator_id} is: {row['placement']}")
    return wrong


def _uid(row: Row) -> int:
    uid = row["placement"].get("uid")
    return os.geteuid() if uid is None else int(uid)


def _places(scene: Scene, picture: Picture) -> list[str]:
    """The directories of accelerators and instances, and the instances' networks."""
    wrong = []
    run = {each.name for each in (scene.plane.state / "run").iterdir()}
    wanted = {each["placement"]["place"] for each in picture.accelerators.values()}
    wrong += [f"directory run/{each} belongs to nothing" for each in run - wanted]
    wrong += [f"directory run/{each} is missing" for each in wanted - run]
    homes = {each.name for each in (scene.plane.state / "instances").iterdir()}
    local = {
        each["id"]
        for each in picture.instances.values()
        if each["provider"] == "local" and each["state"] in {RUNNING, STOPPED}
    }
    wrong += [f"directory instances/{each} belongs to nothing" for each in homes - local]
    wrong += [f"directory instances/{each} is missing" for each in local - homes]
    for each in picture.instances.values():
        network = each["place"].get("network")
        if each["state"] == RUNNING and network and not (_NAMESPACES / network).exists():
            wrong.append(f"{each['id']} has no network namespace")
        if each["state"] == TERMINATED and (_NAMESPACES / f"ei-{each['id']}").exists():
            wrong.append(f"{each['id']} has ended and has a network namespace")
    return wrong


def _capacity(picture: Picture) -> list[str]:
    (node,) = picture.nodes
    (device,) = node["devices"]
    memory = sum(each["placement"]["memory_bytes"] for each in picture.accelerators.values())
    used = (device["memoryMiB"] - device["memoryFreeMiB"]) << 20
    if used != memory:
        return [f"{used >> 20} MiB are taken of the node for accelerators of {memory >> 20}"]
    count = len(picture.accelerators)
    if abs(device["tflops"] - device["tflopsFree"] - count) > 1e-6:
        return [f"TFLOPS of {device} are not those of {count} accelerators"]
    return []


def _metering(picture: Picture) -> list[str]:
    open_ = Counter(each["accelerator_id"] for each in picture.usage if each["open"])
    wrong = [f"{each} is billed {n} times at once" for each, n in open_.items() if n > 1]
    wrong += [f"{each} is not billed" for each in picture.accelerators.keys() - open_.keys()]
    wrong += [f"{each} is billed on" for each in open_.keys() - picture.accelerators.keys()]
    return wrong


def _unexpected(scene: Scene, picture: Picture) -> list[str]:
    """What the clients were told, against what there is."""
    wrong = []
    by_name: dict[str, list[Row]] = {}
    for row in picture.instances.values():
        by_name.setdefault(row["name"], []).append(row)
    for expected in scene.everybody:
        found = by_name.pop(expected.name, [])
        if len(found) > 1:
            wrong.append(f"{expected} is there {len(found)} times")
        wrong += _see(scene, expected, found[0] if found else None, picture)
    wrong += [f"nobody asked for {name}" for name in by_name]
    owners = Counter(each["accelerator_id"] for each in _pairs(picture))
    wrong += [f"{each} was billed to {n} instances" for each, n in owners.items() if n > 1]
    return wrong


def _pairs(picture: Picture) -> list[Row]:
    pairs = {(each["accelerator_id"], each["instance_id"]) for each in picture.usage}
    return [{"accelerator_id": accelerator} for accelerator, _ in pairs]


def _see(scene: Scene, expected: Expected, row: Row | None, picture: Picture) -> list[str]:
    before = expected.most
    if row is None:
        wrong = expected.see(State(ABSENT), frozenset(), "")
    else:
        wrong = []
        if expected.id not in {None, row["id"]}:
            wrong.append(f"{expected} has become {row['id']}")
        expected.id = row["id"]
        mine = [each for each in picture.accelerators.values() if each["instance_id"] == row["id"]]
        types = {
            RUNNING: [each["type"] for each in mine],
            STOPPED: row["accelerator_types"],
        }.get(row["state"], [])
        state = State(row["state"], tuple(sorted(types)))
        ids = frozenset(each["id"] for each in mine)
        wrong += expected.see(state, ids, row["tags"].get("mark", ""))
    scene.budget.give(before - expected.most)
    return wrong
