"""The control plane: keeps the store, the fleet and the compute provider in agreement."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from elastic_inference.catalog import Catalog
from elastic_inference.compute.base import Compute, check_user_data
from elastic_inference.control import records
from elastic_inference.control.access import Access
from elastic_inference.control.background import Background
from elastic_inference.control.billing import Billing
from elastic_inference.control.clock import Clock
from elastic_inference.control.connections import Connections
from elastic_inference.control.defaults import furnish
from elastic_inference.control.documents import describe_device
from elastic_inference.control.health import HealthRecorder
from elastic_inference.control.launch import Launcher, LaunchRequest
from elastic_inference.control.lifecycle import MEMORY_OF_ENDED, Lifecycle
from elastic_inference.control.metering import Meter
from elastic_inference.control.network import Network
from elastic_inference.control.orders import Orders
from elastic_inference.control.records import Accelerator, AccessKey, Instance
from elastic_inference.control.store import Store
from elastic_inference.control.watch import Watch
from elastic_inference.errors import (
    AccessDeniedError,
    ConflictError,
    ElasticInferenceError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.fleet.base import Fleet
from elastic_inference.settings import PoolSettings

if TYPE_CHECKING:
    from elastic_inference.control.metrics import Metrics

_log = logging.getLogger(__name__)
_GOING = (records.SHUTTING_DOWN, records.TERMINATED)


class ControlPlane:
    """A pool's control plane. Every method may be called from any thread.

    Attributes:
        store, fleet, catalog, access, network, connections, billing, metrics: its parts.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        orders: Orders,
        catalog: Catalog,
        settings: PoolSettings,
        *,
        compute: Compute | None = None,
        drain_timeout: float,
        clock: Clock | None = None,
    ) -> None:
        """Put it together.

        Args:
            compute: where instances of this machine are; None: there are none.
            drain_timeout: seconds that running requests get when an accelerator ends.
        """
        clock = clock or Clock()
        self.store = store
        self.fleet = fleet
        self.catalog = catalog
        self.settings = settings
        self.compute = compute
        self.clock = clock
        self.access = Access(store, clock, settings.region, settings.credentials_lifetime)
        self.network = Network(store, settings, clock)
        self.meter = Meter(store, clock)
        self.billing = Billing(store, catalog, clock)
        self.connections = Connections(
            store, self.access, self.network, orders, fleet, settings, clock
        )
        # What signatures for this pool name, so that they are of no use to another.
        self.pool_id = _pool_id(store)
        self._orders = orders
        self._launcher = Launcher(store, fleet, self.network, catalog, settings, clock)
        self._lifecycle = Lifecycle(
            store, fleet, compute, orders, self.meter, clock,
            drain_timeout=drain_timeout,
        )  # fmt: skip
        self.health = HealthRecorder(store, fleet, self.meter, clock)
        self._watch = Watch(self, self._lifecycle)
        self._background = Background(self._lifecycle.settle, self._watch.retry)

    def open(self) -> None:
        """Bring fleet and instances to what the store says: adopt, start again, clean up."""
        furnish(self.store, self.access, self.network, self.clock)
        if self.compute is not None:
            # The pool of one `ei run` has no time for measuring what its node has.
            self.note_nodes()
        with self.store.transaction():
            self.store.forget_instances(self.clock.time() - MEMORY_OF_ENDED)
            # Nobody has heard of a pending one that a command waited for.
            columns = self.store.instances.columns
            self.store.instances.change(
                columns.state == records.PENDING, columns.provider == records.COMMAND,
                state=records.SHUTTING_DOWN,
            )  # fmt: skip
        for instance in self.store.instances.where(columns.state != records.TERMINATED):
            try:
                self._lifecycle.resume(instance)
            except ElasticInferenceError as error:
                # The others are to be taken over all the same.
                _log.warning("%s is not whole: %s", instance.id, error)
        self.fleet.sweep()
        if self.compute is not None:
            self.compute.sweep({each.id for each in self.store.instances.where() if each.place})
        self.health.start()
        for instance_id in self._lifecycle.unsettled():
            with contextlib.suppress(ElasticInferenceError):
                self._lifecycle.settle(instance_id)
        self._watch.start(self.store.instances.where(columns.state == records.RUNNING))
        if self.compute is not None:
            # Nobody asks for the metrics of one `ei run`.
            self.metrics.recorder.start()

    @cached_property
    def metrics(self) -> Metrics:
        """What is recorded of accelerators, and put by users."""
        from elastic_inference.control.metrics import Metrics  # noqa: PLC0415 - not in `ei run`

        return Metrics(self.store, self.fleet, self.network, self.clock, self.settings.max_metrics)

    def close(self) -> None:
        """Stop watching; what runs goes on."""
        self._watch.close()
        self._background.close()
        if "metrics" in self.__dict__:
            self.metrics.recorder.close()
        with contextlib.suppress(ElasticInferenceError):
            self.meter.note()
        if self.compute is not None:
            self.compute.close()

    # -- instances --------------------------------------------------------------------------------

    def run_instance(
        self, accelerator_types: Sequence[str] = (), **wanted: Any
    ) -> tuple[Instance, list[Accelerator], AccessKey | None]:
        """Make an instance and its accelerators; when it returns they serve.

        Args:
            accelerator_types, wanted: see `LaunchRequest`.

        Returns:
            The instance, its accelerators and its credentials, where its role gives it any.

        Raises:
            InvalidRequestError, NotFoundError: the request is not one.
            ConflictError: the client token was used for something else or has ended.
            InsufficientCapacityError: no node has room.
            UnavailableError: an accelerator did not start.
        """
        request = LaunchRequest(accelerator_types=tuple(accelerator_types), **wanted)
        self._check_provider(request)
        instance, is_new = self._launcher.launch(request)
        if is_new:
            instance = self._settle(instance.id) or instance
            self._watch.renew(instance)
        else:
            instance = self._await_running(instance)
        return instance, self.store.accelerators_of(instance.id), self.access.session_of(instance)

    def run_instances(
        self, requests: Sequence[LaunchRequest], least: int
    ) -> tuple[list[Instance], bool]:
        """Make instances that start in the background; when it returns they are pending.

        Args, Returns, Raises:
            See `Launcher.launch_all`, and `run_instance`.
        """
        self._check_provider(requests[0])
        instances, are_new = self._launcher.launch_all(requests, least)
        if are_new:
            for each in instances:
                self._background.settle(each.id)
        return instances, are_new

    def check_launch(self, request: LaunchRequest) -> None:
        """Raise what `run_instance` would raise of the request itself."""
        self._check_provider(request)
        self._launcher.check(request)

    def stop_instance(self, instance_id: str, *, wait: bool = True) -> tuple[str, Instance]:
        """Stop an instance: its processes and its accelerators end, what it has on disk stays.

        Args:
            wait: return when it is stopped, not as soon as it is stopping.

        Returns:
            The state that it had before, and the instance.

        Raises:
            NotFoundError: there is no such instance.
            ConflictError: it is neither running nor stopped, or of a kind that cannot be stopped.
        """
        done = (records.STOPPED, records.STOPPING)
        return self._begin_end(instance_id, records.STOPPING, done, wait=wait)

    def terminate(self, instance_id: str, *, wait: bool = True) -> tuple[str, Instance]:
        """End an instance; when it returns its accelerators are gone. Repeating it does no harm.

        Args:
            wait: False: return as soon as it is shutting down.

        Raises:
            NotFoundError: there was never such an instance, or long ago.
        """
        try:
            return self._begin_end(instance_id, records.SHUTTING_DOWN, _GOING, wait=wait)
        except UnavailableError:
            # Its user is told, and may be gone; what had to end ends once it can.
            self._watch.end(instance_id)
            raise

    def _begin_end(
        self, instance_id: str, state: str, done: Sequence[str], *, wait: bool
    ) -> tuple[str, Instance]:
        with self.store.transaction():
            instance = self.instance(instance_id)
            if instance.state not in done:
                if state == records.STOPPING:
                    _check_may_stop(instance)
                self.store.set_instance(instance_id, state=state, state_reason="")
                self._let_go([each.id for each in self.store.accelerators_of(instance_id)])
        self._watch.forget(instance_id)
        self._settle_now_or_soon(instance_id, now=wait)
        return instance.state, self.instance(instance_id)

    def start_instance(self, instance_id: str, *, wait: bool = True) -> tuple[str, Instance]:
        """Start a stopped instance, with fresh accelerators of the same types.

        Args:
            wait: return when it runs, not as soon as it is pending.

        Raises:
            NotFoundError: there is no such instance.
            ConflictError: it is not stopped.
            InsufficientCapacityError: no node has room now; it stays stopped.
            UnavailableError: an accelerator did not start; it is stopped again.
        """
        with self._lifecycle.alone(instance_id):
            instance = self.instance(instance_id)
            if instance.state == records.RUNNING:
                return instance.state, instance
            if instance.state == records.PENDING and not wait:
                return instance.state, instance
            if instance.state != records.STOPPED:
                raise ConflictError(
                    f"The instance {instance_id} is {instance.state}; one that is stopped can be"
                    " started.",
                    next_step="ei describe instances --watch shows when it is.",
                )
            types = self._launcher.types(instance.accelerator_types)
            self._launcher.add_accelerators(instance, types, state=records.PENDING, state_reason="")
        self._settle_now_or_soon(instance_id, now=wait)
        self._watch.renew(self.instance(instance_id))
        return instance.state, self.instance(instance_id)

    def reboot_instance(self, instance_id: str) -> Instance:
        """End an instance's processes; its accelerators and its place stay.

        Raises:
            NotFoundError: there is no such instance.
            ConflictError: it does not run, or is not this machine's to reboot.
        """
        with self._lifecycle.alone(instance_id):
            instance = self.running(instance_id)
            if self.compute is None or instance.provider != records.LOCAL:
                raise ConflictError(
                    f"The instance {instance_id} is a {instance.provider}, which is rebooted where"
                    " it runs.",
                )
            self.compute.stop(instance_id)
            place = self.compute.open(instance_id, instance.place or None).to_dict()
            self.store.set_instance(instance_id, place=place)
        return self.instance(instance_id)

    def attach(self, instance_id: str, accelerator_type: str) -> Accelerator:
        """Give a running instance one more accelerator; when it returns that serves.

        Raises:
            NotFoundError, InvalidRequestError, InsufficientCapacityError, UnavailableError
            LimitExceededError: it has as many as it may have.
        """
        types = self._launcher.types([accelerator_type])
        with self._lifecycle.alone(instance_id):
            instance = self.running(instance_id)
            most = self.settings.max_accelerators
            if len(self.store.accelerators_of(instance_id)) >= most:
                raise LimitExceededError(
                    f"The instance {instance_id} has {most} accelerators already.",
                    next_step="Detach one (ei detach), or raise EI_MAX_ACCELERATORS.",
                )
            (made,) = self._launcher.add_accelerators(instance, types)
        self._settle(instance_id)
        return self.accelerator(made.id)

    def detach(self, accelerator_id: str) -> Accelerator:
        """Take an accelerator from its instance; when it returns that is gone.

        Raises:
            NotFoundError: there is no such accelerator.
            ConflictError: it is just being attached.
        """
        with self.store.transaction():
            accelerator = self.accelerator(accelerator_id)
            if accelerator.state == records.ASSOCIATING:
                raise ConflictError(
                    f"The accelerator {accelerator_id} is just being attached.",
                    next_step="Detach it once it is there.",
                )
            self.store.set_accelerator(accelerator_id, state=records.DISASSOCIATING)
            self._let_go([accelerator_id])
        self._settle(accelerator.instance_id)
        return accelerator

    def _let_go(self, accelerator_ids: Sequence[str]) -> None:
        """In a transaction: neither billed nor to be connected to from now on."""
        self.meter.end(accelerator_ids)
        self.connections.withdraw_all(accelerator_ids)

    def keep_alive(self, instance_id: str) -> None:
        """Renew an instance's lease.

        Raises:
            NotFoundError: no such instance runs.
        """
        self._watch.renew(self.running(instance_id))

    def tag(self, resource_id: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Change the tags of an instance or accelerator; what is used from now on bears them.

        Raises:
            NotFoundError: there is no such thing.
            InvalidRequestError: they are no tags.
        """
        from elastic_inference.control.tagging import change_tags  # noqa: PLC0415 - seldom used

        change_tags(self, resource_id, tags, remove)

    # -- what is there ----------------------------------------------------------------------------

    def instance(self, instance_id: str) -> Instance:
        """The instance with that id.

        Raises:
            NotFoundError: there is none, or it ended long ago.
        """
        instance = self.store.instances.get(instance_id)
        if instance is None:
            raise _no_instance(instance_id, "instance")
        return instance

    def running(self, instance_id: str) -> Instance:
        """The instance with that id, if it runs.

        Raises:
            NotFoundError: it does not.
        """
        instance = self.store.instances.get(instance_id)
        if instance is None or instance.state != records.RUNNING:
            raise _no_instance(instance_id, "running instance")
        return instance

    def accelerator(self, accelerator_id: str) -> Accelerator:
        """The accelerator with that id.

        Raises:
            NotFoundError: there is none.
        """
        accelerator = self.store.accelerators.get(accelerator_id)
        if accelerator is None:
            raise NotFoundError(
                f"There is no accelerator {accelerator_id[:64]!r}.",
                next_step="ei describe accelerators lists those there are.",
            )
        return accelerator

    def renew_certificate(self, accelerator_id: str) -> None:
        """Give an accelerator a certificate for all that it can be reached at now.

        Raises:
            NotFoundError: there is no such accelerator.
        """
        self.fleet.renew(self._orders.order(self.accelerator(accelerator_id)))

    def watch_ends(self, watcher: Callable[[Sequence[str]], None]) -> None:
        """Call `watcher` with the ids of accelerators that are about to end."""
        self._lifecycle.watch_ends(watcher)

    def note_nodes(self) -> None:
        """Write down what the fleet's nodes have."""
        with self.store.transaction():
            for report in self.fleet.nodes():
                columns = self.store.nodes.columns
                self.store.nodes.remove(columns.id == report.node)
                self.store.nodes.add(
                    records.NodeRecord(
                        id=report.node,
                        best_effort=report.best_effort,
                        devices=tuple(describe_device(each) for each in report.devices),
                        seen_at=self.clock.time(),
                    )
                )

    # -- the rest ---------------------------------------------------------------------------------

    def _check_provider(self, request: LaunchRequest) -> None:
        if request.provider == records.LOCAL and self.compute is None:
            raise InvalidRequestError(
                "This pool has no place for instances.",
                next_step="Start one with ei up, and launch instances there.",
            )
        if not request.user_data:
            return
        if request.provider != records.LOCAL or self.compute is None:
            raise InvalidRequestError("Only an instance of ei launch runs user data.")
        check_user_data(request.user_data)
        if not self.compute.isolated:
            raise AccessDeniedError(
                f"This pool runs no user data, since {self.compute.why_not}.",
                next_step="Launch without it, and run commands with ei exec.",
            )

    def _settle(self, instance_id: str) -> Instance | None:
        """Do what was promised for an instance; what cannot be done now is done later."""
        try:
            return self._lifecycle.settle(instance_id)
        except BaseException:
            self._watch.retry(instance_id)
            raise

    def _settle_now_or_soon(self, instance_id: str, *, now: bool) -> None:
        if now:
            self._settle(instance_id)
        else:
            self._background.settle(instance_id)

    def _await_running(self, instance: Instance) -> Instance:
        """The outcome of an earlier call with the same client token."""
        deadline = time.monotonic() + self.settings.start_timeout
        with contextlib.suppress(ElasticInferenceError):
            while instance.state == records.PENDING and time.monotonic() < deadline:
                instance = self._lifecycle.settle(instance.id) or instance
        if instance.state != records.RUNNING:
            raise ConflictError(
                f"The instance {instance.id} of this client token is {instance.state}.",
                next_step="Use a new client token.",
            )
        return instance


def _pool_id(store: Store) -> str:
    with store.transaction():
        known = store.setting("pool_id")
        if known is None:
            known = secrets.token_hex(16)
            store.set_setting("pool_id", known)
    return known


def _check_may_stop(instance: Instance) -> None:
    if instance.provider == records.COMMAND:
        raise InvalidRequestError(
            f"The instance {instance.id} is an ei run, which ends with its command.",
            next_step="Terminate it (ei terminate).",
        )
    if instance.state != records.RUNNING:
        raise ConflictError(
            f"The instance {instance.id} is {instance.state}; one that runs can be stopped.",
            next_step="ei describe instances --watch shows when it does.",
        )


def _no_instance(instance_id: str, what: str) -> NotFoundError:
    return NotFoundError(
        f"There is no {what} {instance_id[:64]!r}.",
        next_step="ei describe instances lists those there are.",
    )
