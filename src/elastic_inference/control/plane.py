"""The control plane: instances, their accelerators, leases, and what a restart finds again."""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from elastic_inference.catalog import AcceleratorType, Catalog
from elastic_inference.control import store as records
from elastic_inference.control.certificates import Authority, server_name
from elastic_inference.control.store import Accelerator, AccessKey, Instance, Store
from elastic_inference.errors import (
    ConflictError,
    ElasticInferenceError,
    InvalidRequestError,
    NotFoundError,
)
from elastic_inference.fleet.base import Fleet, Order, Placement, Status
from elastic_inference.protocol import tokens
from elastic_inference.settings import PoolSettings

_log = logging.getLogger(__name__)
ACCOUNT = "000000000000"
# Who wakes up so much too late was stopped itself, and could not hear anybody.
_LATE = 0.5
# Between two tries to end an instance.
_PAUSE = 5.0
# How long `describe` still shows what has ended.
_MEMORY_OF_ENDED = 3600.0
_MAX_NAME = 128


class ControlPlane:
    """Keeps a store and a fleet in agreement. Every method may be called from any thread.

    Args:
        drain_timeout: seconds that running requests get when an instance ends.
        reached_at: what leads to accelerators with addresses of their own: names and addresses.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        authority: Authority,
        catalog: Catalog,
        settings: PoolSettings,
        *,
        drain_timeout: float,
        reached_at: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.fleet = fleet
        self.catalog = catalog
        self.settings = settings
        self._authority = authority
        self._drain_timeout = drain_timeout
        self._reached_at = reached_at
        self._clock = clock
        self._end_watchers: list[Callable[[Sequence[str]], None]] = []
        self._changed = threading.Condition()
        self._expiry: dict[str, float] = {}
        self._ending: set[str] = set()
        self._closed = False
        self._leases = threading.Thread(target=self._watch_leases, name="leases", daemon=True)
        fleet.watch(self._health_changed)

    def open(self) -> None:
        """Bring the fleet to what the store says: adopt, start again, clean up."""
        with self.store.transaction():
            if self.store.access_key_of(None) is None:
                self.store.add_access_key(_new_key(None))
            self.store.forget_instances(self._clock() - _MEMORY_OF_ENDED)
        for instance in self.store.instances():
            if instance.state == records.RUNNING:
                self._resume(instance)
            elif instance.state != records.TERMINATED:
                # Nobody has heard of a pending one, and the other was ending.
                for accelerator in self.store.accelerators(instance.id):
                    self._adopt(accelerator)
                self._end(instance.id)
        self.fleet.sweep()
        self._leases.start()

    def close(self) -> None:
        """Stop watching; what runs goes on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._leases.ident is not None:
            self._leases.join()

    def run_instance(
        self,
        accelerator_types: Sequence[str],
        *,
        client_token: str | None = None,
        lease_seconds: float | None = None,
        name: str = "",
    ) -> tuple[Instance, list[Accelerator], AccessKey]:
        """Make an instance and its accelerators; when it returns they serve.

        Args:
            accelerator_types: names of the catalogue, one for each accelerator.
            client_token: a repeated call with the same token answers the same instance.
            lease_seconds: terminate it when no `keep_alive` comes for so long; None: never.

        Raises:
            InvalidRequestError: an unknown type, none or too many.
            ConflictError: the client token was used for something else or has ended.
            InsufficientCapacityError: no node has room.
            UnavailableError: an accelerator did not start.
        """
        types = self._types(accelerator_types)
        names = tuple(each.name for each in types)
        instance = Instance(
            id=f"i-{secrets.token_hex(9)[:17]}",
            account=ACCOUNT,
            name=name[:_MAX_NAME],
            state=records.PENDING,
            client_token=client_token,
            accelerator_types=names,
            lease_seconds=lease_seconds,
            created_at=self._clock(),
        )
        with self._changed:
            known = client_token and self.store.instance_by_token(ACCOUNT, client_token)
            if not known:
                self.store.add_instance(instance)
        if known:
            return self._same(known, names)
        begun: list[str] = []
        try:
            self._launch(instance, types, begun)
            key = self._begin(instance)
        except BaseException:
            # Where this cannot be written down now, it is tried again later.
            with contextlib.suppress(ElasticInferenceError):
                self._end(instance.id)
            self.fleet.stop(begun, 0)
            raise
        return replace(instance, state=records.RUNNING), self.store.accelerators(instance.id), key

    def keep_alive(self, instance_id: str) -> None:
        """Renew an instance's lease.

        Raises:
            NotFoundError: no such instance runs.
        """
        with self._changed:
            self._renew(self.running(instance_id))

    def terminate(self, instance_id: str) -> None:
        """End an instance; when it returns its accelerators are gone. Repeating it does no harm.

        Raises:
            NotFoundError: there was never such an instance, or long ago.
        """
        if self.store.instance(instance_id) is None:
            raise _no_instance(instance_id)
        self._end(instance_id)

    def watch_ends(self, watcher: Callable[[Sequence[str]], None]) -> None:
        """Call `watcher` with the ids of accelerators that are about to end."""
        self._end_watchers.append(watcher)

    def connect(
        self, accelerator_id: str, *, on_behalf_of: str, lifetime: float | None = None
    ) -> tuple[Accelerator, str, float]:
        """An accelerator and a token for its data plane, with the token's end (Unix time).

        Args:
            lifetime: seconds that the token is valid; None for the usual time.

        Raises:
            InvalidRequestError: the lifetime is longer than a token's may be.
            NotFoundError: there is no such accelerator.
        """
        accelerator = self.accelerator(accelerator_id)
        if lifetime is not None and not 0 < lifetime <= self.settings.max_token_lifetime:
            raise InvalidRequestError(
                f"A token may be valid for up to {self.settings.max_token_lifetime:.0f} s, "
                f"not {lifetime:.0f} s.",
                next_step="Ask for less, or raise EI_MAX_TOKEN_LIFETIME where ei up runs.",
            )
        expires = self._clock() + (lifetime or self.settings.token_lifetime)
        claims = tokens.Claims(accelerator.id, on_behalf_of, accelerator.account, expires)
        return accelerator, tokens.mint(accelerator.token_key, claims), expires

    def accelerator(self, accelerator_id: str) -> Accelerator:
        """The accelerator with that id.

        Raises:
            NotFoundError: there is none.
        """
        accelerator = self.store.accelerator(accelerator_id)
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
        self.fleet.renew(self._order(self.accelerator(accelerator_id)))

    def running(self, instance_id: str) -> Instance:
        """The instance with that id, if it runs.

        Raises:
            NotFoundError: it does not.
        """
        instance = self.store.instance(instance_id)
        if instance is None or instance.state != records.RUNNING:
            raise _no_instance(instance_id)
        return instance

    def _types(self, names: Sequence[str]) -> list[AcceleratorType]:
        most = self.settings.max_accelerators
        if not 1 <= len(names) <= most:
            raise InvalidRequestError(
                f"An instance has from 1 to {most} accelerators, not {len(names)}.",
                next_step="Name as many types; the limit is EI_MAX_ACCELERATORS.",
            )
        return [self.catalog.get(name) for name in names]

    def _same(
        self, instance: Instance, types: tuple[str, ...]
    ) -> tuple[Instance, list[Accelerator], AccessKey]:
        """The outcome of an earlier call with the same client token."""
        if instance.accelerator_types != types:
            raise ConflictError("This client token was used for other accelerator types.")
        deadline = time.monotonic() + self.settings.start_timeout
        with self._changed:
            while instance.state == records.PENDING and time.monotonic() < deadline:
                self._changed.wait(max(0.0, deadline - time.monotonic()))
                instance = self.store.instance(instance.id) or instance
        key = self.store.access_key_of(instance.id)
        if instance.state != records.RUNNING or key is None:
            raise ConflictError(
                f"The instance {instance.id} of this client token is {instance.state}.",
                next_step="Use a new client token.",
            )
        return instance, self.store.accelerators(instance.id), key

    def _begin(self, instance: Instance) -> AccessKey:
        """An instance whose accelerators serve runs from now on."""
        with self._changed:
            with self.store.transaction():
                now = self.store.instance(instance.id)
                if now is None or now.state != records.PENDING:
                    raise ConflictError(
                        f"The instance {instance.id} was terminated while it started."
                    )
                self.store.set_instance_state(instance.id, records.RUNNING)
                key = _new_key(instance.id)
                self.store.add_access_key(key)
            self._renew(instance)
        return key

    def _launch(
        self, instance: Instance, types: Sequence[AcceleratorType], begun: list[str]
    ) -> None:
        """Start an instance's accelerators; `begun` gets their ids first."""
        placements: list[Placement] = []
        try:
            placements.extend(self.fleet.place(each) for each in types)
        except ElasticInferenceError:
            for placement in placements:
                self.fleet.release(placement)
            raise
        accelerators = [
            Accelerator(
                id=f"eia-{secrets.token_hex(16)}",
                type=type_.name,
                account=instance.account,
                instance_id=instance.id,
                association_id=f"eia-assoc-{secrets.token_hex(9)[:17]}",
                token_key=secrets.token_bytes(tokens.KEY_BYTES),
                placement=placement.to_dict(),
                created_at=self._clock(),
            )
            for type_, placement in zip(types, placements, strict=True)
        ]
        # Written down before anything runs, so that a restart finds whatever was begun.
        try:
            with self.store.transaction():
                for accelerator in accelerators:
                    self.store.add_accelerator(accelerator)
        except ElasticInferenceError:
            for placement in placements:
                self.fleet.release(placement)
            raise
        begun.extend(accelerator.id for accelerator in accelerators)
        if len(accelerators) == 1:
            self.fleet.start(self._order(accelerators[0]))
            return
        with ThreadPoolExecutor(len(accelerators), "start") as starting:
            started = [
                starting.submit(self.fleet.start, self._order(accelerator))
                for accelerator in accelerators
            ]
        for outcome in started:
            outcome.result()

    def _order(self, accelerator: Accelerator) -> Order:
        name = server_name(accelerator.id)
        # Only those with an address of their own may speak for this machine's name.
        more = () if accelerator.own_port is None else self._reached_at
        issued = self._authority.issue([name, *more])
        return Order(
            accelerator_id=accelerator.id,
            accelerator_type=self.catalog.get(accelerator.type),
            account=accelerator.account,
            token_key=accelerator.token_key,
            server_name=name,
            certificate=issued.certificate,
            private_key=issued.private_key,
            placement=Placement.from_dict(accelerator.placement),
        )

    def _resume(self, instance: Instance) -> None:
        for accelerator in self.store.accelerators(instance.id):
            if self._adopt(accelerator):
                _log.info("%s runs on and is adopted", accelerator.id)
                continue
            try:
                self.fleet.revive(self._order(accelerator))
                _log.info("%s had ended and is started again", accelerator.id)
            except InvalidRequestError as error:
                _log.warning("%s cannot be started again: %s", accelerator.id, error)
        with self._changed:
            self._renew(instance)

    def _adopt(self, accelerator: Accelerator) -> bool:
        try:
            return self.fleet.adopt(self._order(accelerator))
        except InvalidRequestError:
            # Its type has left the catalogue.
            return False

    def _end(self, instance_id: str) -> None:
        """End an instance; one that cannot be ended now is tried again until it is."""
        try:
            self._try_to_end(instance_id)
        except Exception:
            with self._changed:
                self._expiry[instance_id] = time.monotonic() + _PAUSE
                self._changed.notify_all()
            raise

    def _try_to_end(self, instance_id: str) -> None:
        with self._changed:
            while instance_id in self._ending:
                self._changed.wait()
            instance = self.store.instance(instance_id)
            if instance is None or instance.state == records.TERMINATED:
                return
            self.store.set_instance_state(instance_id, records.SHUTTING_DOWN)
            self._ending.add(instance_id)
            self._expiry.pop(instance_id, None)
        try:
            ids = [accelerator.id for accelerator in self.store.accelerators(instance_id)]
            for watcher in self._end_watchers:
                watcher(ids)
            self.fleet.stop(ids, self._drain_timeout)
            with self.store.transaction():
                self.store.remove_of_instance(instance_id)
                self.store.set_instance_state(instance_id, records.TERMINATED, self._clock())
                self.store.forget_instances(self._clock() - _MEMORY_OF_ENDED)
        finally:
            with self._changed:
                self._ending.discard(instance_id)
                self._changed.notify_all()

    def _renew(self, instance: Instance) -> None:
        if instance.lease_seconds is not None:
            self._expiry[instance.id] = time.monotonic() + instance.lease_seconds
        self._changed.notify_all()

    def _watch_leases(self) -> None:
        asleep, due = 0.0, math.inf
        while True:
            with self._changed:
                if self._closed:
                    return
                now = time.monotonic()
                if now - due > _LATE:
                    for name in self._expiry:
                        self._expiry[name] += now - asleep
                asleep, due = now, math.inf
                silent = [name for name, expiry in self._expiry.items() if expiry <= now]
                if not silent:
                    if self._expiry:
                        due = min(self._expiry.values())
                    self._changed.wait(due - now if self._expiry else None)
                    continue
            for instance_id in silent:
                _log.warning("%s has been silent for its whole lease and is ended", instance_id)
                try:
                    self._end(instance_id)
                except Exception:  # noqa: BLE001 - see below
                    # Without this thread no lease would ever end again.
                    _log.exception("%s could not be ended and will be tried again", instance_id)

    def _health_changed(self, accelerator_id: str, status: Status) -> None:
        _log.info("%s is %s", accelerator_id, status.health.value)


def _new_key(instance_id: str | None) -> AccessKey:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return AccessKey(
        id="EIAK" + "".join(secrets.choice(alphabet) for _ in range(16)),
        secret=secrets.token_urlsafe(30),
        account=ACCOUNT,
        instance_id=instance_id,
    )


def _no_instance(instance_id: str) -> NotFoundError:
    return NotFoundError(
        f"There is no running instance {instance_id[:64]!r}.",
        next_step="ei describe instances lists those there are.",
    )
