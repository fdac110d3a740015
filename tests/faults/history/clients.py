"""Threads that launch, stop, start, attach, detach, connect and pay, whatever happens."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.faults.history import data_plane
from tests.faults.history.data_plane import Held
from tests.faults.history.expected import GONE, RUNNING, STOPPED, TERMINATED, Expected, State
from tests.faults.history.journal import ERROR, OK, UNKNOWN, Call
from tests.faults.history.sampler import INTERVAL
from tests.faults.history.scene import ALLOW, DENY, ROLE, Scene

TYPE = "eia1.medium"
# A withdrawn token is refused after this, a good one taken: both need a pool that is there.
_SOON = 5.0
_TAKEN = 30.0
_LEASE = 2.0
_PAUSE = 0.1
_KEPT_DOWN = 1.5


class Client(threading.Thread):
    """One user with instances of its own.

    Args:
        left: how many operations all clients together have to do still; one is taken for each.
    """

    def __init__(self, scene: Scene, number: int, seed: int, left: Callable[[], bool]) -> None:
        super().__init__(name=f"c{number}", daemon=True)
        self._scene = scene
        self._random = random.Random(f"{seed}/{number}")  # noqa: S311 - repeatable
        self._left = left
        self._role = ROLE.format(number)
        self._numbers = 0

    def run(self) -> None:
        try:
            while self._left():
                self._scene.plane.up.wait(60.0)
                with self._scene.gate.passing():
                    self._step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the history is no proof
            self._scene.complain(f"{self.name} failed: {type(error).__name__}: {error}")

    def _mine(self) -> list[Expected]:
        """The instances that are this one's to change; those with a lease go by themselves."""
        return [
            each
            for each in self._scene.everybody
            if each.name.startswith(f"{self.name}-") and each.id and each.lease is None
        ]

    def _look(self) -> None:
        """See what became of those of which that is not known."""
        for each in self._scene.everybody:
            if not each.name.startswith(f"{self.name}-") or each.sure or not each.id:
                continue
            if each.lease is not None:
                continue
            ask = self._scene.journal.call
            row = ask(self.name, "DescribeInstances", {"instanceIds": [each.id]})
            attached = ask(self.name, "DescribeAccelerators", {"instanceId": each.id})
            if row.ok and attached.ok:
                (found,) = row.answer["instances"]
                self._see(each, found, attached.answer["accelerators"])

    def _see(self, one: Expected, row: dict[str, Any], attached: list[dict[str, Any]]) -> None:
        state = row["state"]
        if state not in {RUNNING, STOPPED, TERMINATED}:
            return
        if any(each["associationState"] != "associated" for each in attached):
            return
        types = [each["acceleratorType"] for each in attached]
        if state == STOPPED:
            types = row["acceleratorTypes"]
        ids = frozenset(each["acceleratorId"] for each in attached)
        before = one.most
        seen = State(state, tuple(sorted(types)))
        self._scene.complain(*one.see(seen, ids, row["tags"].get("mark", "")))
        self._scene.budget.give(before - one.most)

    # -- what there is to do ------------------------------------------------------------------

    def _step(self) -> None:
        self._look()
        mine = self._mine()
        running = [each for each in mine if each.sure and each.sure.name == RUNNING]
        local = [each for each in running if each.provider == "local"]
        stopped = [each for each in mine if each.sure and each.sure.name == STOPPED]
        having = [each for each in running if each.ids]
        choices: list[tuple[float, Callable[[], None]]] = [(2.0, self._run_one), (0.3, self._price)]
        for weight, act, among in (
            (2.5, self._end, local),
            (4.0, self._start, stopped),
            (0.7, self._reboot, local),
            (1.0, self._terminate, running + stopped),
            (3.0, self._attach, running),
            (2.0, self._detach, having),
            (3.0, self._connect, having),
            (1.0, self._tag, running + stopped),
            (1.5, self._policy, having),
            (1.0, self._kill, having),
            (1.5, self._race, local),
        ):
            if among:
                one = self._random.choice(among)
                choices.append((weight, lambda act=act, one=one: act(one)))  # type: ignore[misc]  # bound now
        weights, acts = zip(*choices, strict=True)
        self._random.choices(acts, weights)[0]()

    def _call(self, operation: str, document: dict[str, Any], of: Expected | None = None) -> Call:
        before = of.most if of else 0
        call = self._scene.journal.call(self.name, operation, document)
        if of is not None:
            of.note(call)
            self._scene.budget.give(before - of.most)
        return call

    # -- life cycle ---------------------------------------------------------------------------

    def _run_one(self) -> None:
        count = self._random.choice((1, 1, 1, 2))
        if not self._scene.budget.take(count):
            return self._make_room()
        self._numbers += 1
        provider = self._random.choice(("local", "local", "command"))
        lease = _LEASE if self._random.random() < 0.15 else None
        made = Expected(f"{self.name}-{self._numbers}", provider, lease)
        self._scene.everybody.append(made)
        document: dict[str, Any] = {
            "acceleratorTypes": [TYPE] * count, "name": made.name, "provider": provider,
            "roleName": self._role, "clientToken": f"token-{made.name}",
        }  # fmt: skip
        if lease is not None:
            document["leaseSeconds"] = lease
        calls = self._repeated(document)
        answered = [each for each in calls if each.ok]
        for each in answered[:1] or calls:
            made.note(each)
        if answered:
            made.id = answered[0].answer["instanceId"]
        if lease is not None:
            self._leave(made)
        self._scene.budget.give(count - made.most)
        return None

    def _repeated(self, document: dict[str, Any]) -> list[Call]:
        """Sometimes twice at one time, and again where no answer came: the same instance."""
        calls: list[Call] = []

        def ask() -> None:
            calls.append(self._scene.journal.call(self.name, "RunInstance", document))

        twice = self._random.random() < 0.3
        other = threading.Thread(target=ask) if twice else None
        if other is not None:
            other.start()
        ask()
        if other is not None:
            other.join()
        if not any(each.ok for each in calls) and any(each.outcome == UNKNOWN for each in calls):
            self._scene.plane.up.wait(60.0)
            ask()
        found = {each.answer["instanceId"] for each in calls if each.ok}
        if len(found) > 1:
            self._scene.complain(f"one client token made {sorted(found)}")
        if found and {each.outcome for each in calls} == {OK, ERROR}:
            refused = [str(each) for each in calls if each.outcome == ERROR]
            self._scene.complain(f"one of two with one client token was refused: {refused}")
        return calls

    def _leave(self, made: Expected) -> None:
        """Keep it alive for a while, then say nothing more."""
        for _ in range(self._random.randrange(3) if made.id else 0):
            time.sleep(_LEASE / 4)
            self._call("KeepAlive", {"instanceId": made.id})
        made.may |= {GONE}

    def _make_room(self) -> None:
        ended = [each for each in self._mine() if each.most]
        if ended:
            self._terminate(self._random.choice(ended))
        else:
            # Others have all of it, and will give some back.
            time.sleep(_PAUSE)

    def _end(self, one: Expected) -> None:
        held = self._token_of(one)
        call = self._call("StopInstance", {"instanceId": one.id}, one)
        self._must_refuse(call, held)

    def _terminate(self, one: Expected) -> None:
        held = self._token_of(one)
        call = self._call("TerminateInstance", {"instanceId": one.id}, one)
        self._must_refuse(call, held)

    def _start(self, one: Expected) -> None:
        assert one.sure is not None
        count = len(one.sure.types)
        if self._scene.budget.take(count):
            self._call("StartInstance", {"instanceId": one.id}, one)
            self._scene.budget.give(count)
        else:
            self._make_room()

    def _reboot(self, one: Expected) -> None:
        self._call("RebootInstance", {"instanceId": one.id})

    def _attach(self, one: Expected) -> None:
        if one.most < 4 and self._scene.budget.take(1):
            document = {"instanceId": one.id, "acceleratorType": TYPE}
            self._call("AttachAccelerator", document, one)
            self._scene.budget.give(1)
        else:
            self._make_room()

    def _detach(self, one: Expected) -> None:
        held = self._token_of(one)
        if held is None:
            return
        document = {"acceleratorId": held.accelerator_id, "type": TYPE}
        self._must_refuse(self._call("DetachAccelerator", document, one), held)

    def _race(self, one: Expected) -> None:
        """Two operations on one instance at one time."""
        if not self._scene.budget.take(1):
            return self._make_room()
        accelerator = self._random.choice(sorted(one.ids or {"eia-none"}))
        possible: list[tuple[str, dict[str, Any]]] = [
            ("StopInstance", {"instanceId": one.id}),
            ("TerminateInstance", {"instanceId": one.id}),
            ("AttachAccelerator", {"instanceId": one.id, "acceleratorType": TYPE}),
            ("DetachAccelerator", {"acceleratorId": accelerator, "type": TYPE}),
            ("StartInstance", {"instanceId": one.id}),
            ("GetInstanceDocument", {"instanceId": one.id}),
        ]
        chosen = self._random.sample(possible, 2)
        before = one.most
        calls: list[Call] = []
        both = [
            threading.Thread(
                target=lambda what=what: calls.append(self._scene.journal.call(self.name, *what))
            )
            for what in chosen
        ]
        for each in both:
            each.start()
        for each in both:
            each.join()
        one.note_race(calls)
        self._scene.budget.give(before + 1 - one.most)
        return None

    # -- use ----------------------------------------------------------------------------------

    def _token_of(self, one: Expected) -> Held | None:
        """A token for one of an instance's accelerators, as its own credentials get it."""
        if not one.ids:
            return None
        accelerator_id = self._random.choice(sorted(one.ids))
        call = self._call("Connect", {"acceleratorId": accelerator_id})
        if not call.ok or "local" not in call.answer:
            return None
        return Held(accelerator_id, call.answer["token"], call.answer["local"]["socket"])

    def _connect(self, one: Expected) -> None:
        held = self._token_of(one)
        if held and not data_plane.comes_to(held, {200}, _TAKEN):
            self._scene.complain(f"{held.accelerator_id} does not take a good token")

    def _must_refuse(self, call: Call, held: Held | None) -> None:
        if held is None or not call.ok:
            return
        self._scene.refusals += 1
        if not data_plane.comes_to(held, {0, 401}, _SOON):
            self._scene.complain(f"{held.accelerator_id} takes a token after {call}")

    def _policy(self, one: Expected) -> None:
        """Connect is denied to the role: its tokens end; and allowed again: new ones are good."""
        scene = self._scene
        document = scene.journal.call(self.name, "GetInstanceDocument", {"instanceId": one.id})
        held = self._token_by_role(one, document)
        if held is None:
            return
        deny = {"policyName": self._role, "document": DENY}
        scene.insist(self.name, "PutPolicy", deny)
        scene.refusals += 1
        refused = data_plane.comes_to(held, {401}, _SOON)
        while not refused and scene.plane.up.wait(60.0) and not self._was_up_for(_SOON):
            # It was killed meanwhile: the next one says it when it takes the accelerator over.
            refused = data_plane.comes_to(held, {401}, 0.1)
        if not refused and held.accelerator_id in self._alive():
            scene.complain(f"{held.accelerator_id} takes a token that a policy has withdrawn")
        scene.insist(self.name, "PutPolicy", {"policyName": self._role, "document": ALLOW})
        again = self._token_by_role(one, document)
        if again and not data_plane.comes_to(again, {200}, _TAKEN):
            scene.complain(f"{held.accelerator_id} does not take a token that is allowed again")
        if data_plane.status(held) == 200:
            scene.complain(f"{held.accelerator_id} takes a withdrawn token again")

    def _token_by_role(self, one: Expected, document: Call) -> Held | None:
        given = document.answer.get("credentials")
        if not given or not one.ids:
            return None
        accelerator_id = min(one.ids)
        call = self._scene.journal.call_as(
            self.name, given, "Connect", {"acceleratorId": accelerator_id}
        )
        if not call.ok or "local" not in call.answer:
            return None
        return Held(accelerator_id, call.answer["token"], call.answer["local"]["socket"])

    def _was_up_for(self, seconds: float) -> bool:
        now = time.monotonic()
        return self._scene.plane.was_up(now - seconds, now)

    def _alive(self) -> set[str]:
        return {each.accelerator_id for each in self._scene.sampler.alive()}

    def _tag(self, one: Expected) -> None:
        value = f"m{self._random.randrange(1000)}"
        call = self._call("TagResource", {"resourceId": one.id, "tags": {"mark": value}})
        if call.ok:
            one.tags = {value}
        else:
            one.tags |= {value}

    def _price(self) -> None:
        price = round(self._random.uniform(0.01, 9.0), 4)
        document = {"acceleratorType": TYPE, "pricePerHour": price}
        call = self._call("SetPrice", document)
        self._scene.prices.append((TYPE, price, call.outcome))

    def _kill(self, one: Expected) -> None:
        """kill -9 of an accelerator's process; sometimes of each that comes after it, too."""
        accelerator_id = self._random.choice(sorted(one.ids or ()))
        until = time.monotonic() + (_KEPT_DOWN if self._random.random() < 0.5 else 0.0)
        self._scene.killed += 1
        while True:
            for life in self._scene.sampler.alive():
                if life.accelerator_id == accelerator_id:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(life.pid, signal.SIGKILL)
            if time.monotonic() > until:
                return
            time.sleep(INTERVAL)
