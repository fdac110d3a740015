"""Accelerators' own addresses, for clients that cannot choose a TLS server name.

Such an address leads to one accelerator whatever the server name. It grants nothing: what
comes over it needs a token as anywhere else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from elastic_inference.control.endpoint import Endpoint
from elastic_inference.control.listener import listen_at, listen_within
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import RUNNING, Accelerator
from elastic_inference.errors import (
    ElasticInferenceError,
    LimitExceededError,
    UnavailableError,
)
from elastic_inference.settings import PoolSettings

_log = logging.getLogger(__name__)


class OwnAddresses:
    """Opens and closes them, and opens those of before again.

    Args:
        host: the IP address that they are on.
    """

    def __init__(self, plane: ControlPlane, host: str, settings: PoolSettings) -> None:
        self._plane = plane
        self.host = host
        self._ports = settings.own_ports
        self._most = settings.max_own_addresses
        self._endpoint: Endpoint | None = None
        self._open: dict[str, int] = {}
        # Open, and the accelerator may not have its certificate for it yet.
        self._unannounced: set[str] = set()
        self._lock = threading.Lock()
        plane.watch_ends(self._close)

    def start(self, endpoint: Endpoint) -> None:
        """Let `endpoint` serve them, those of before first: at their ports where these are free."""
        store = self._plane.store
        with self._lock:
            self._endpoint = endpoint
            # Read under the lock, so that `_close` comes later for whatever ends meanwhile.
            instances, accelerators = store.instances.columns, store.accelerators.columns
            running = {each.id for each in store.instances.where(instances.state == RUNNING)}
            kept = store.accelerators.where(accelerators.own_port.is_not(None))
            # Each at its own port before any other could take it.
            homeless = [
                each for each in kept if each.instance_id in running and not self._reopen(each)
            ]
            for accelerator in homeless:
                self._move(accelerator)

    def open(self, accelerator_id: str) -> int:
        """The port of an accelerator's own address, opened if it is not.

        Raises:
            NotFoundError: there is no such accelerator, or it is about to end.
            LimitExceededError: no port is free, or there are too many such addresses.
            UnavailableError: the system gives no socket, or the pool has just begun.
        """
        with self._lock:
            port = self._open.get(accelerator_id)
            if port is None:
                # Checked under the lock, so that `_close` comes later and finds it.
                self._plane.running(self._plane.accelerator(accelerator_id).instance_id)
                port = self._open_anew(accelerator_id)
                self._unannounced.add(accelerator_id)
            unannounced = accelerator_id in self._unannounced
        if unannounced:
            # It waits for an accelerator that is being started, and nobody else shall.
            self._plane.renew_certificate(accelerator_id)
            with self._lock:
                self._unannounced.discard(accelerator_id)
        return port

    def port_of(self, accelerator_id: str) -> int | None:
        """The port of an accelerator's own address, if it has one."""
        return self._open.get(accelerator_id)

    def _open_anew(self, accelerator_id: str) -> int:
        if self._endpoint is None:
            raise UnavailableError("The pool has just begun.", next_step="Try again in a moment.")
        if len(self._open) >= self._most:
            raise LimitExceededError(
                f"{self._most} accelerators have addresses of their own already.",
                next_step="End some that are not needed, or raise EI_MAX_OWN_ADDRESSES.",
            )
        listener = listen_within(self.host, self._ports)
        port: int = listener.getsockname()[1]
        self._endpoint.open(listener, accelerator_id)
        self._open[accelerator_id] = port
        self._plane.store.set_accelerator(accelerator_id, own_port=port)
        return port

    def _reopen(self, accelerator: Accelerator) -> bool:
        port = accelerator.own_port
        if self._endpoint is None or port is None or not self._may_be(port):
            return False
        listener = listen_at(self.host, port)
        if listener is None:
            return False
        try:
            self._endpoint.open(listener, accelerator.id)
        except UnavailableError:
            return False
        self._open[accelerator.id] = port
        return True

    def _may_be(self, port: int) -> bool:
        return self._ports is None or self._ports[0] <= port <= self._ports[1]

    def _move(self, accelerator: Accelerator) -> None:
        was = f"{accelerator.id} cannot have port {accelerator.own_port} of last time again"
        try:
            port = self._open_anew(accelerator.id)
        except ElasticInferenceError as error:
            self._plane.store.set_accelerator(accelerator.id, own_port=None)
            _log.warning("%s, and no other: %s", was, error)
        else:
            _log.warning("%s: its own address has port %d now (ei token tells it)", was, port)

    def _close(self, accelerator_ids: Sequence[str]) -> None:
        with self._lock:
            for accelerator_id in accelerator_ids:
                self._unannounced.discard(accelerator_id)
                if self._open.pop(accelerator_id, None) is not None and self._endpoint is not None:
                    self._endpoint.shut(accelerator_id)
