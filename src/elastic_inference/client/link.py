"""The kept connections to one accelerator, and what happens when they break.

A call takes a connection for itself; idle ones wait on a stack. When the accelerator is lost
one thread attaches again while the others wait, and work that may be repeated is repeated.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from elastic_inference.client.attempts import Attempts
from elastic_inference.client.connection import Connection, open_socket
from elastic_inference.client.grant import Address, Grant, Locator, owned_socket
from elastic_inference.client.http import json_of
from elastic_inference.client.shared_memory import Region, SharedConnection
from elastic_inference.client.watchdog import NEVER, Watchdog
from elastic_inference.errors import (
    AcceleratorLostError,
    AuthenticationError,
    ConfigurationError,
    ElasticInferenceError,
    UnavailableError,
)
from elastic_inference.settings import ClientSettings

T = TypeVar("T")
Failure = tuple[Connection | None, BaseException]

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5
_LOCAL_PATIENCE = 5.0
_FAREWELL_NS = 300_000_000
_INFO = "/v2/elastic-inference/accelerator"
_USAGE = "/v2/elastic-inference/usage"
_links: weakref.WeakSet[Link] = weakref.WeakSet()


class Link:
    """The way to one accelerator. Its methods may be called from any thread.

    Attributes:
        idle: connections that nobody uses, the latest last.
        timeout_ns: how long an inference may take.
        client_id: names this process to the accelerator.
        grant: the right that new connections use.
        generation: grows whenever the accelerator was lost and found again.
        info: what the accelerator said of itself when it was last attached.
    """

    def __init__(self, locator: Locator, settings: ClientSettings) -> None:
        self.settings = settings
        self.timeout_ns = int(settings.timeout * 1e9)
        self.info: dict[str, Any] = {}
        self._locator = locator
        self._closed = False
        self._local = False
        self._reset()
        self.grant: Grant = locator.grant()
        _links.add(self)
        deadline = time.monotonic() + settings.connect_timeout
        self.give_back(self._reach(deadline, UnavailableError()))

    def _reset(self) -> None:
        """The state of a process that has no connections yet."""
        self.client_id = uuid.uuid4().hex
        self.idle: list[Connection] = []
        self.generation = 0
        self._connections: set[Connection] = set()
        self._known_regions: set[str] = set()
        self._refused_regions: set[str] = set()
        self._watched_regions: set[str] = set()
        self._leases: dict[str, int] = {}
        self._gone = [0, 0]
        self._lock = threading.Lock()
        self._lease_lock = threading.Lock()
        self._recovering = threading.Lock()
        self._watchdog = Watchdog(min(self.timeout_ns, int(self.settings.load_timeout * 1e9)))
        self._finalizer = weakref.finalize(
            self, _farewell, self._watchdog, self.idle, self._connections, self._gone
        )

    # -- calls -----------------------------------------------------------------------------

    def take(self) -> Connection:
        """An idle connection, or a new one.

        Raises:
            OSError, UnavailableError: nobody answers.
        """
        try:
            return self.idle.pop()
        except IndexError:
            return self._open()

    def call(
        self,
        work: Callable[[Connection], T],
        *,
        timeout_ns: int = 0,
        reload: Callable[[], None] | None = None,
        failure: Failure | None = None,
    ) -> T:
        """The result of `work`, done again on another connection if one breaks.

        Args:
            timeout_ns: how long each attempt may take; that of an inference if 0.
            reload: what brings back what `work` needs, if the accelerator does not know it.
            failure: how a first attempt ended.

        Raises:
            AcceleratorLostError: it could not be reached again in time.
            DeadlineExceededError: an attempt took too long.
            ElasticInferenceError: what the accelerator answered.
        """
        attempt = Attempts(self, reload)
        while True:
            if failure is not None:
                attempt.failed(*failure)
                failure = None
            connection = None
            generation = self.generation
            try:
                connection = self.take()
                connection.deadline = time.perf_counter_ns() + (timeout_ns or self.timeout_ns)
                result = work(connection)
            except Exception as error:  # noqa: BLE001 - sorted out in one place
                attempt.generation = generation
                failure = (connection, error)
            except BaseException:
                if connection is not None:
                    self.drop(connection)
                raise
            else:
                self.give_back(connection)
                return result

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout: float = 0.0,
    ) -> Any:
        """A request with JSON both ways; errors as in `call`."""
        raw = b"" if body is None else json.dumps(body).encode()
        answer = self.call(
            lambda connection: connection.request(method, path, raw),
            timeout_ns=int(timeout * 1e9),
        )
        return json_of(answer)

    def give_back(self, connection: Connection) -> None:
        """Nobody uses `connection` any more."""
        connection.deadline = NEVER
        if connection in self._connections:
            self.idle.append(connection)
        else:
            self.drop(connection)
        # Looked at last: a close that came meanwhile has not seen this connection.
        if self._closed:
            self._drop_idle()

    def drop(self, connection: Connection) -> None:
        """Close a connection that cannot be used again."""
        with self._lock:
            known = connection in self._connections
            self._connections.discard(connection)
            if known:
                self._gone[0] += connection.calls
                self._gone[1] += connection.wall_ns
        self._watchdog.forget(connection)
        connection.close()

    def _drop_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self.drop(self.idle.pop())

    # -- attaching -------------------------------------------------------------------------

    @property
    def shares_memory(self) -> bool:
        """Whether large tensors go through shared memory."""
        return self._transport(self.grant.address) == "shm"

    @property
    def transport(self) -> str:
        """`shm`, `unix`, `tls` or `tcp`."""
        transport = self._transport(self.grant.address)
        return "tcp" if transport == "tls" and not self.grant.address.tls else transport

    def _transport(self, address: Address) -> str:
        wanted = self.settings.transport
        local = bool(address.socket_path) and owned_socket(
            address.socket_path, address.socket_owner
        )
        if wanted == "auto":
            return "shm" if local or not address.host else "tls"
        if wanted != "tls" and not address.socket_path:
            raise ConfigurationError(
                f"EI_TRANSPORT={wanted}, but the accelerator is not on this host.",
                next_step="Use EI_TRANSPORT=auto or tls.",
            )
        return wanted

    def _open(self) -> Connection:
        if self._closed:
            raise UnavailableError("The accelerator was closed by this process.")
        grant = self.grant
        transport = self._transport(grant.address)
        timeout = self.settings.connect_timeout
        sock = open_socket(grant.address, unix=transport != "tls", timeout=timeout)
        limit = self.settings.max_answer
        connection: Connection
        if transport == "shm":
            connection = SharedConnection(
                sock,
                max_answer=limit,
                registry=weakref.proxy(self),
                generation=self.generation,
            )
        else:
            connection = Connection(sock, max_answer=limit, generation=self.generation)
        with self._lock:
            if not self._connections:
                # The accelerator forgets a client's memory with its last connection.
                self._forget_regions()
            self._connections.add(connection)
        self._watchdog.watch(connection)
        connection.deadline = time.perf_counter_ns() + int(timeout * 1e9)
        self._watchdog.poke()
        try:
            self._greet(connection, grant)
        except BaseException:
            self.drop(connection)
            raise
        connection.deadline = NEVER
        return connection

    def _greet(self, connection: Connection, grant: Grant) -> None:
        """Authorise the connection; the grant is the connection's from then on."""
        fields = f"Authorization: Bearer {grant.token}\r\nEI-Client: {self.client_id}\r\n"
        raw = connection.request("GET", _INFO, b"", fields)
        connection.token = grant.token
        try:
            info = json.loads(raw)
        except (ValueError, RecursionError):
            info = None
        if not isinstance(info, dict):
            raise AcceleratorLostError(
                f"What answers at {grant.address} is not an accelerator.",
                next_step="Check the address.",
            )
        wanted = grant.accelerator_id
        if wanted and info.get("accelerator_id") != wanted:
            raise AcceleratorLostError(f"Another accelerator answers in the place of {wanted}.")
        self.info = info

    def attach_again(self, generation: int, deadline: float, cause: BaseException) -> None:
        """After a loss: wait until the accelerator is there again.

        Args:
            generation: the one that was lost; if it is over already there is nothing to do.
            deadline: of `time.monotonic`.

        Raises:
            AcceleratorLostError: it did not come back in time.
        """
        if not self._recovering.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise self.lost(cause)
        try:
            if self.generation != generation:
                return
            self._drop_idle()
            self._forget_regions()
            connection = self._reach(deadline, cause)
            self.generation += 1
            connection.generation = self.generation
            self.give_back(connection)
        finally:
            self._recovering.release()

    def _reach(self, deadline: float, cause: BaseException) -> Connection:
        pause = _FIRST_PAUSE
        renew = False
        patience = time.monotonic() + _LOCAL_PATIENCE
        while True:
            try:
                if renew:
                    self.grant = self._locator.grant()
                return self._open_alike(patience)
            except AuthenticationError:
                if renew:
                    raise
                renew = True
                continue
            except (OSError, UnavailableError) as error:
                cause = error
                renew = True
            if self._closed or time.monotonic() + pause >= deadline:
                raise self.lost(cause) from cause
            time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads clients out
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _open_alike(self, patience: float) -> Connection:
        """A connection; until `patience` not over the network if it was over a socket before.

        A local accelerator that starts again has no socket for a moment, and the endpoint is no
        better way to it.
        """
        local = self.transport in ("shm", "unix")
        if self._local and not local and time.monotonic() < patience:
            raise ConnectionRefusedError("its socket is gone")
        connection = self._open()
        self._local = local
        return connection

    def renew(self, connection: Connection) -> None:
        """Get a new token, unless another thread did, and show it on `connection`."""
        shown = self.grant.token
        self.renew_grant(connection.token)
        connection.deadline = time.perf_counter_ns() + int(self.settings.connect_timeout * 1e9)
        self._watchdog.poke()
        try:
            self._greet(connection, self.grant)
        except AuthenticationError:
            if not connection.usable or self.grant.token != shown:
                raise
            # What the other thread got has expired since.
            connection.usable = False
            self.renew_grant(shown)
            self._greet(connection, self.grant)

    def renew_grant(self, token: str) -> None:
        """Replace the grant that has `token`."""
        with self._recovering:
            if token == self.grant.token:
                self.grant = self._locator.grant()

    def lost(self, cause: BaseException) -> AcceleratorLostError:
        """The error for an accelerator that does not come back."""
        reason = cause.message if isinstance(cause, ElasticInferenceError) else str(cause)
        error = AcceleratorLostError(
            f"The accelerator cannot be reached: {reason or type(cause).__name__}",
            next_step="Check that the pool runs; EI_RECOVERY_TIMEOUT says how long to wait for "
            "it, and EI_ON_LOSS=local goes on with the local engine.",
        )
        self.describe(error)
        return error

    def describe(self, error: ElasticInferenceError) -> ElasticInferenceError:
        """Tell in `error` where it happened."""
        return error.with_context(
            request_id=f"EI-{uuid.uuid4()}", accelerator_id=self.accelerator_id
        )

    @property
    def accelerator_id(self) -> str:
        """`eia-…`."""
        return self.grant.accelerator_id or str(self.info.get("accelerator_id", ""))

    # -- shared memory ---------------------------------------------------------------------

    def registered(self, region: Region, connection: SharedConnection) -> bool:
        """See `shared_memory.Registry`."""
        if region.name in self._known_regions:
            return True
        if region.name in self._refused_regions:
            return False
        if not connection.register(region):
            self._refused_regions.add(region.name)
            return False
        if region.name not in self._watched_regions:
            self._watched_regions.add(region.name)
            gone = weakref.finalize(region, _region_gone, weakref.ref(self), region.name)
            gone.atexit = False
        self._known_regions.add(region.name)
        return True

    def _forget_regions(self) -> None:
        """The accelerator knows none of them any more."""
        self._known_regions.clear()
        self._refused_regions.clear()

    def forget_region(self, name: str) -> None:
        """Tell the accelerator that a region is no longer used; no error if it cannot be told."""
        self._watched_regions.discard(name)
        self._refused_regions.discard(name)
        if name in self._known_regions:
            self._known_regions.discard(name)
            self._in_passing("DELETE", f"/v2/elastic-inference/memory/{name}")

    # -- leases of models ------------------------------------------------------------------

    def hold(self, handle: str) -> None:
        """Count one more user of a loaded model in this process."""
        with self._lease_lock:
            self._leases[handle] = self._leases.get(handle, 0) + 1

    def release(self, handle: str) -> None:
        """Count one less; the last one ends this process's lease, if that can be told."""
        with self._lease_lock:
            count = self._leases.get(handle, 0) - 1
            if count > 0:
                self._leases[handle] = count
                return
            if self._leases.pop(handle, None) is not None:
                self._in_passing("POST", f"/v2/repository/models/{handle}/unload")

    def later(self, task: Callable[[], None]) -> None:
        """Do `task` soon in another thread. Safe in finalizers."""
        self._watchdog.later(task)

    def _in_passing(self, method: str, path: str, body: bytes = b"") -> None:
        """A request whose failure matters to nobody: on an idle connection, in a moment."""
        try:
            connection = self.idle.pop()
        except IndexError:
            try:
                connection = self._open()
            except (OSError, ElasticInferenceError):
                return
        connection.deadline = time.perf_counter_ns() + int(self.settings.connect_timeout * 1e9)
        self._watchdog.poke()
        self._try(connection, method, path, body)

    def _try(self, connection: Connection, method: str, path: str, body: bytes) -> None:
        try:
            connection.request(method, path, body)
        except (OSError, ElasticInferenceError):
            if not connection.usable:
                self.drop(connection)
                return
            connection.usable = False
        except BaseException:
            self.drop(connection)
            raise
        self.give_back(connection)

    # -- the end ---------------------------------------------------------------------------

    def close(self) -> None:
        """End leases, report usage and close all connections. Nothing can be called after."""
        with self._lease_lock:
            leases, self._leases = list(self._leases), {}
        for handle in leases:
            self._in_passing("POST", f"/v2/repository/models/{handle}/unload")
        self.farewell()

    def farewell(self) -> None:
        """Report usage if that is quick, and close all connections."""
        self._closed = True
        self._finalizer()
        self._drop_idle()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's connections alone and start afresh."""
        connections = list(self._connections)
        self._finalizer.detach()
        self._reset()
        for connection in connections:
            connection.close()


def _region_gone(link: weakref.ref[Link], name: str) -> None:
    alive = link()
    if alive is not None:
        alive.later(partial(alive.forget_region, name))


def _farewell(
    watchdog: Watchdog, idle: list[Connection], connections: set[Connection], gone: list[int]
) -> None:
    """A link is closed, was dropped without that, or the process ends."""
    # Taken off the stack, as every user takes one: another thread may be about to use it.
    resting = []
    with contextlib.suppress(IndexError):
        while True:
            resting.append(idle.pop())
    calls = gone[0] + sum(each.calls for each in list(connections))
    wall_ns = gone[1] + sum(each.wall_ns for each in list(connections))
    if calls and resting:
        resting[0].deadline = time.perf_counter_ns() + _FAREWELL_NS
        watchdog.poke()
        body = json.dumps({"calls": calls, "wall_ns": wall_ns}).encode()
        with contextlib.suppress(OSError, ElasticInferenceError):
            resting[0].request("POST", _USAGE, body)
    for connection in list(connections):
        if connection in resting:
            connection.close()
        else:
            # Its user finds it broken and closes it.
            connection.cut()
    watchdog.close()


def _after_fork() -> None:
    for link in list(_links):
        link.after_fork()


os.register_at_fork(after_in_child=_after_fork)
