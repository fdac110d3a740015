"""What instances and accelerators go through, driven from the states that the store has.

A state that is not final (pending, stopping, shutting-down; associating, disassociating) is a
promise: `settle` does what is left to do, whoever made it and however far that one came.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from elastic_inference.compute.base import Compute
from elastic_inference.control import records
from elastic_inference.control.clock import Clock
from elastic_inference.control.metering import Meter
from elastic_inference.control.orders import Orders
from elastic_inference.control.records import Accelerator, Instance
from elastic_inference.control.store import Store
from elastic_inference.errors import (
    ConflictError,
    ElasticInferenceError,
    InvalidRequestError,
)
from elastic_inference.fleet.base import Fleet, Health, Placement

_log = logging.getLogger(__name__)
_ENDING = (records.STOPPING, records.SHUTTING_DOWN)
_TRANSIENT = (records.PENDING, records.STOPPING, records.SHUTTING_DOWN)
# Those in whose places something may run.
_PLACED = (records.RUNNING, records.STOPPING)
# How long `describe` still shows what has ended.
MEMORY_OF_ENDED = 3600.0


class Lifecycle:
    """Brings instances to the states that they are on the way to.

    Args:
        drain_timeout: seconds that running requests get when an accelerator ends.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        compute: Compute | None,
        orders: Orders,
        meter: Meter,
        clock: Clock,
        *,
        drain_timeout: float,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._compute = compute
        self._orders = orders
        self._meter = meter
        self._clock = clock
        self._drain_timeout = drain_timeout
        self._end_watchers: list[Callable[[Sequence[str]], None]] = []
        self._busy: set[str] = set()
        self._changed = threading.Condition()

    def watch_ends(self, watcher: Callable[[Sequence[str]], None]) -> None:
        """Call `watcher` with the ids of accelerators that are about to end."""
        self._end_watchers.append(watcher)

    @contextlib.contextmanager
    def alone(self, instance_id: str) -> Iterator[None]:
        """Nobody else changes that instance meanwhile."""
        with self._changed:
            while instance_id in self._busy:
                self._changed.wait()
            self._busy.add(instance_id)
        try:
            yield
        finally:
            with self._changed:
                self._busy.discard(instance_id)
                self._changed.notify_all()

    def settle(self, instance_id: str) -> Instance | None:
        """Do what is left to do for an instance; when it returns that is done.

        Raises:
            ElasticInferenceError: it could not start, and has ended or stopped again; or it could
                not be ended, and has to be tried again.
        """
        with self.alone(instance_id):
            instance = self._store.instances.get(instance_id)
            if instance is None:
                return None
            if instance.state == records.PENDING:
                self._bring_up(instance)
            elif instance.state in _ENDING:
                self._take_down(instance)
            elif instance.state == records.RUNNING:
                self._settle_accelerators(instance)
            return self._store.instances.get(instance_id)

    def unsettled(self) -> list[str]:
        """The instances for which something is left to do."""
        instances, accelerators = self._store.instances.columns, self._store.accelerators.columns
        found = [each.id for each in self._store.instances.where(instances.state.in_(_TRANSIENT))]
        found += [
            each.instance_id
            for each in self._store.accelerators.where(accelerators.state != records.ASSOCIATED)
        ]
        return list(dict.fromkeys(found))

    # -- up -------------------------------------------------------------------------------------

    def _bring_up(self, instance: Instance) -> None:
        try:
            self._open_place(instance)
            self._start(self._store.accelerators_of(instance.id))
            with self._store.transaction():
                now = self._store.instances.get(instance.id)
                if now is None or now.state != records.PENDING:
                    raise ConflictError(f"The instance {instance.id} was ended while it started.")
                self._store.set_instance(
                    instance.id,
                    state=records.RUNNING, state_reason="", launched_at=self._clock.time(),
                )  # fmt: skip
                self._associate(instance.id)
        except BaseException as error:
            self._fail(instance, error)
            raise
        self._boot(instance)

    def _fail(self, instance: Instance, error: BaseException) -> None:
        """One that could not start goes back to where it was: to nothing, or to stopped."""
        reason = error.message if isinstance(error, ElasticInferenceError) else repr(error)
        end = records.SHUTTING_DOWN if instance.launched_at is None else records.STOPPING
        # Where this cannot be written down or done now, it is tried again later.
        with contextlib.suppress(ElasticInferenceError):
            self._store.instances.change(
                self._store.instances.columns.id == instance.id,
                self._store.instances.columns.state == records.PENDING,
                state=end, state_reason=reason[:1024],
            )  # fmt: skip
            now = self._store.instances.get(instance.id)
            if now is not None and now.state in _ENDING:
                self._take_down(now)

    def _start(self, accelerators: Sequence[Accelerator]) -> None:
        wanted = [each for each in accelerators if each.state == records.ASSOCIATING]
        if len(wanted) <= 1:
            for each in wanted:
                self._start_one(each)
            return
        with ThreadPoolExecutor(len(wanted), "start") as starting:
            started = [starting.submit(self._start_one, each) for each in wanted]
        for outcome in started:
            outcome.result()

    def _start_one(self, accelerator: Accelerator) -> None:
        if self._fleet.status(accelerator.id).health is not Health.OK:
            self._fleet.start(self._orders.order(accelerator))

    def _open_place(self, instance: Instance) -> None:
        """Before its accelerators start, since they let its user in."""
        if self._compute is not None and instance.provider == records.LOCAL:
            place = self._compute.open(instance.id, instance.place or None).to_dict()
            self._store.set_instance(instance.id, place=place)

    def _boot(self, instance: Instance) -> None:
        if self._compute is None or instance.booted or not instance.user_data:
            return
        try:
            self._compute.first_boot(instance.id, instance.user_data)
            self._store.set_instance(instance.id, booted=True)
        except ElasticInferenceError as error:
            _log.warning("%s: its user data did not run: %s", instance.id, error)
            with contextlib.suppress(ElasticInferenceError):
                self._store.set_instance(
                    instance.id, booted=True, state_reason=f"User data: {error.message}"[:1024]
                )

    def _associate(self, instance_id: str) -> None:
        """In a transaction: what was started serves, and is billed from now on."""
        for each in self._store.accelerators_of(instance_id):
            if each.state != records.ASSOCIATING:
                continue
            status = self._fleet.status(each.id)
            self._store.set_accelerator(
                each.id, state=records.ASSOCIATED, health=status.health.value,
                health_at=self._clock.time(),
            )  # fmt: skip
            if status.health is Health.OK:
                self._meter.begin(each)

    # -- attached and detached while it runs ---------------------------------------------------

    def _settle_accelerators(self, instance: Instance) -> None:
        accelerators = self._store.accelerators_of(instance.id)
        leaving = [each for each in accelerators if each.state == records.DISASSOCIATING]
        if leaving:
            self._end(leaving)
            self._forget(instance.id, leaving)
        joining = [each for each in accelerators if each.state == records.ASSOCIATING]
        if not joining:
            return
        try:
            self._start(joining)
            with self._store.transaction():
                now = self._store.instances.get(instance.id)
                if now is None or now.state != records.RUNNING:
                    raise ConflictError(
                        f"The instance {instance.id} was ended while the accelerator started."
                    )
                self._associate(instance.id)
                self._note_types(instance.id)
        except BaseException:
            with contextlib.suppress(ElasticInferenceError):
                self._end(joining)
                self._forget(instance.id, joining)
            raise

    def _forget(self, instance_id: str, accelerators: Sequence[Accelerator]) -> None:
        with self._store.transaction():
            self._remove(accelerators)
            self._note_types(instance_id)

    def _note_types(self, instance_id: str) -> None:
        """In a transaction: what it starts with the next time is what it has now."""
        types = [each.type for each in self._store.accelerators_of(instance_id)]
        self._store.set_instance(instance_id, accelerator_types=types)

    # -- down -----------------------------------------------------------------------------------

    def _take_down(self, instance: Instance) -> None:
        accelerators = self._store.accelerators_of(instance.id)
        for_good = instance.state == records.SHUTTING_DOWN
        self._end(accelerators)
        if self._compute is not None and instance.provider == records.LOCAL:
            (self._compute.close_instance if for_good else self._compute.stop)(instance.id)
        now = self._clock.time()
        with self._store.transaction():
            # Some may have been detached meanwhile, and a stop have become an end for good.
            found = self._store.instances.get(instance.id) or instance
            types = _types_left(found, self._store.accelerators_of(instance.id))
            self._remove(accelerators)
            if for_good:
                self._store.keys.remove(self._store.keys.columns.instance_id == instance.id)
                self._store.set_instance(
                    instance.id, state=records.TERMINATED, ended_at=now, place={}
                )
                self._store.forget_instances(now - MEMORY_OF_ENDED)
            elif found.state == records.STOPPING:
                self._store.set_instance(
                    instance.id, state=records.STOPPED, accelerator_types=types
                )
        if not for_good and found.state == records.SHUTTING_DOWN:
            self._take_down(found)

    def _end(self, accelerators: Sequence[Accelerator]) -> None:
        ids = [each.id for each in accelerators]
        for watcher in self._end_watchers:
            watcher(ids)
        self._fleet.stop(ids, self._drain_timeout)
        for each in accelerators:
            # Those that never came to start hold their places still.
            self._fleet.release(Placement.from_dict(each.placement))

    def _remove(self, accelerators: Sequence[Accelerator]) -> None:
        """In a transaction: they are no more."""
        ids = [each.id for each in accelerators]
        self._meter.end(ids)
        self._store.accelerators.remove(self._store.accelerators.columns.id.in_(ids))
        self._store.rights.remove(self._store.rights.columns.accelerator_id.in_(ids))

    # -- after a restart of the control plane ---------------------------------------------------

    def resume(self, instance: Instance) -> None:
        """Take over an instance that an earlier control plane had running, or half way there."""
        for accelerator in self._store.accelerators_of(instance.id):
            self._resume_accelerator(instance, accelerator)
        if self._compute is None or instance.provider != records.LOCAL or not instance.place:
            return
        if instance.state not in _PLACED:
            return
        # One that is to be stopped is opened too, since what runs in it has to end.
        place = self._compute.open(instance.id, instance.place).to_dict()
        if place != instance.place:
            self._store.set_instance(instance.id, place=place)
        if instance.state == records.RUNNING:
            self._boot(instance)

    def _resume_accelerator(self, instance: Instance, accelerator: Accelerator) -> None:
        try:
            order = self._orders.order(accelerator)
        except InvalidRequestError as error:
            _log.warning("%s cannot be taken over: %s", accelerator.id, error)
            self._meter.freeze([accelerator.id])
            return
        # Before anything of this life overwrites when the last one ended.
        alive = self._fleet.last_alive(order.placement)
        if self._fleet.adopt(order):
            _log.info("%s runs on and is adopted", accelerator.id)
            return
        if alive is None:
            self._meter.freeze([accelerator.id])
        else:
            self._meter.end([accelerator.id], at=alive)
        if instance.state == records.RUNNING and accelerator.state == records.ASSOCIATED:
            self._fleet.revive(order)
            _log.info("%s had ended and is started again", accelerator.id)


def _types_left(instance: Instance, accelerators: Sequence[Accelerator]) -> list[str]:
    """What a stopped instance starts with: what it had, but for what was being detached."""
    types = list(instance.accelerator_types)
    for each in accelerators:
        if each.state == records.DISASSOCIATING and each.type in types:
            types.remove(each.type)
    return types
