"""One history from its begin to its end."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic_inference.control.client import ControlClient
from tests.faults.history import inspection
from tests.faults.history.bills import Bounds, Lookout, Seen, bounds
from tests.faults.history.clients import TYPE, Client
from tests.faults.history.killer import Killer
from tests.faults.history.scene import ALLOW, ROLE, Scene

CLIENTS = 4
_ID = re.compile(r"\b(?:i|eia)-[0-9a-f]{12,}")
MOST = 6


@dataclass(slots=True)
class Summary:
    """What came of a history."""

    seconds: float = 0.0
    operations: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    calls: list[tuple[str, Counter[str]]] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    billed: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def show(self) -> None:
        """A table and one line."""
        print(f"{'operation':<24}{'ok':>6}{'error':>7}{'unknown':>9}")
        for operation, outcomes in self.calls:
            row = [outcomes[each] for each in ("ok", "error", "unknown")]
            print(f"{operation:<24}{row[0]:>6}{row[1]:>7}{row[2]:>9}")
        for error, count in sorted(self.errors.items()):
            print(f"    answered {count} times: {error}")
        for each in self.wrong:
            print(f"    {each[:300]}")
        kills = ", ".join(f"{count} {how}" for how, count in self.kills.items())
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        verdict = (
            f"{len(self.wrong)} things wrong"
            if self.wrong
            else "nothing lost, doubled, leaked or billed wrongly"
        )
        print(f"kills of the control plane: {kills}")
        print(
            f"history: {self.operations} operations,"
            f" {sum(self.kills.values())} kills, {counts}, {self.billed:.0f} s billed,"
            f" {self.seconds:.0f} s; {verdict}",
            flush=True,
        )


def run(
    operations: int, seed: int, *, between: tuple[int, int] = (5, 16), clients: int = CLIENTS
) -> Summary:
    """Record a history of about so many operations and check it."""
    with tempfile.TemporaryDirectory(prefix="ei-history-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        scene = Scene.open(folder, MOST)
        try:
            return _record(scene, operations, seed, between, clients)
        finally:
            scene.sampler.close()
            scene.plane.end_all()


def _record(
    scene: Scene, operations: int, seed: int, between: tuple[int, int], clients: int
) -> Summary:
    began = time.monotonic()
    for number in range(clients):
        _make_role(scene, ROLE.format(number))
    ready, first = len(scene.journal.calls), scene.journal.operations
    lookout = Lookout(scene.plane)
    lookout.start()

    def left() -> bool:
        return scene.journal.operations - first + scene.killed < operations

    threads = [Client(scene, number, seed, left) for number in range(clients)]
    killer = Killer(scene, seed, between, lambda: any(each.is_alive() for each in threads))
    for each in [*threads, killer]:
        each.start()
    for each in [*threads, killer]:
        each.join()
    calls = scene.journal.calls[ready:]
    inspection.inspect(scene)
    lookout.close()
    summary = Summary(kills=_ways(scene, killer))
    _end(scene)
    _check_bills(scene, lookout, summary)
    troubles = scene.plane.troubles()
    scene.complain(*(f"the log says: {each}" for each in troubles))
    if scene.wrong:
        _tell(scene)
    _count(scene, summary, calls)
    summary.seconds = time.monotonic() - began
    return summary


def _make_role(scene: Scene, role: str) -> None:
    scene.insist("setup", "CreateRole", {"roleName": role})
    scene.insist("setup", "PutPolicy", {"policyName": role, "document": ALLOW})
    scene.insist("setup", "AttachPolicy", {"policyName": role, "roleName": role})


def _ways(scene: Scene, killer: Killer) -> dict[str, int]:
    ways = {"while it wrote": killer.writing, "in recovery": killer.starting}
    return {"inside an operation": scene.plane.kills - sum(ways.values()), **ways}


def _end(scene: Scene) -> None:
    """Everything is terminated, and nothing may be left."""
    for each in scene.everybody:
        if each.id is not None:
            call = scene.journal.call("end", "TerminateInstance", {"instanceId": each.id})
            each.note(call)
            if not call.ok:
                scene.complain(f"cannot be terminated: {call}")
    inspection.inspect(scene)
    if scene.sampler.alive():
        scene.complain("accelerators outlive all instances")


def _check_bills(scene: Scene, lookout: Lookout, summary: Summary) -> None:
    client = ControlClient(scene.plane.pointer(), 60.0)
    bill = client.call("GetBill", {"groupBy": "accelerator"})
    rows = {each["key"]: each for each in bill["rows"]}
    lookout.told(scene.journal.calls)
    lives: dict[str, list[Any]] = {}
    for life in scene.sampler.lives():
        if life.ready is not None:
            lives.setdefault(life.accelerator_id, []).append(life)
    for accelerator_id in sorted({*rows, *lives, *lookout.seen}):
        seen = lookout.seen.get(accelerator_id, Seen())
        found: Bounds = bounds(
            accelerator_id, seen, lives.get(accelerator_id, []), scene.journal.calls, scene.plane
        )
        seconds = rows[accelerator_id]["seconds"] if accelerator_id in rows else 0.0
        summary.billed += seconds
        if found.excess(seconds):
            mine = lives.get(accelerator_id)
            scene.complain(f"{accelerator_id} is billed {seconds:.2f} s: {found} {mine} {seen}")
    scene.complain(*_wrong_costs(scene, rows))
    if any(each["running"] for each in rows.values()):
        scene.complain("something is billed after the end")


def _wrong_costs(scene: Scene, rows: dict[str, Any]) -> list[str]:
    """Each bill is its seconds at the prices of their time, which are those that were set."""
    picture = inspection.take(scene)
    known = sorted((each["effective_from"], each["price_per_hour"]) for each in picture.prices)
    kept = [price for _, price in known]
    wrong = [
        f"a price of {price} was set and is not there"
        for _, price, outcome in scene.prices
        if outcome == "ok" and price not in kept
    ]
    wrong += [
        f"nobody set a price of {price}"
        for price in kept
        if price not in {each for _, each, outcome in scene.prices if outcome != "error"}
    ]
    usual = ControlClient(scene.plane.pointer(), 60.0).call("DescribePrices", {})["prices"]
    first = next(each["pricePerHour"] for each in usual if each["acceleratorType"] == TYPE)
    steps = [(0.0, first), *known]
    for accelerator_id, row in rows.items():
        cost = 0.0
        for usage in picture.usage:
            if usage["accelerator_id"] == accelerator_id:
                cost += _cost(usage["began_at"], usage["began_at"] + usage["seconds"], steps)
        if abs(cost - row["cost"]) > 1e-6:
            wrong.append(f"{accelerator_id} costs {row['cost']}, which should be {cost}")
    return wrong


def _cost(begin: float, end: float, steps: list[tuple[float, float]]) -> float:
    total = 0.0
    for index, (since, price) in enumerate(steps):
        until = steps[index + 1][0] if index + 1 < len(steps) else end
        total += max(0.0, min(end, until) - max(begin, since)) * price / 3600
    return total


def _tell(scene: Scene) -> None:
    """What was asked of those with which something is wrong, and what the log has of them."""
    ids = {each for line in scene.wrong for each in _ID.findall(line)}
    for call in scene.journal.calls:
        if any(each in str(call.answer.get("accelerators", "")) for each in ids):
            ids.add(str(call.answer.get("instanceId", "")))
    ids.discard("")
    names = {each.name for each in scene.everybody if each.id in ids}
    for call in scene.journal.calls:
        text = f"{call} {call.answer}"
        if any(each in text for each in ids | names):
            print(f"      {str(call)[:400]}")
    for line in scene.plane.said():
        if any(each in line for each in ids):
            print(f"      log: {line[:300]}")


def _count(scene: Scene, summary: Summary, calls: list[Any]) -> None:
    outcomes: dict[str, Counter[str]] = {}
    for call in calls:
        outcomes.setdefault(call.operation, Counter())[call.outcome] += 1
        if call.outcome == "error":
            summary.errors[f"{call.operation}: {_ID.sub('…', call.error)[:110]}"] += 1
    summary.operations = sum(call.changes for call in calls) + scene.killed
    outcomes["kill -9 an accelerator"] = Counter(ok=scene.killed)
    summary.calls = sorted(outcomes.items())
    unknown = sum(each["unknown"] for each in outcomes.values())
    summary.counts = {
        "unanswered": unknown,
        "instances": len(scene.everybody),
        "accelerators": len({each.accelerator_id for each in scene.sampler.lives()}),
        "tokens refused": scene.refusals,
    }
    summary.wrong = scene.wrong
