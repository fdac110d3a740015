"""A whole pool in this process: state, fleet, control plane, API and endpoint."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from elastic_inference.catalog import Catalog
from elastic_inference.compute.base import Compute
from elastic_inference.compute.document import InstanceDocument
from elastic_inference.control.access import principal_of
from elastic_inference.control.api import Api
from elastic_inference.control.caller import Caller
from elastic_inference.control.certificates import Authority, ServerCertificate, write_private
from elastic_inference.control.clock import Clock
from elastic_inference.control.endpoint import Endpoint
from elastic_inference.control.front import Front
from elastic_inference.control.instance_client import instance_document
from elastic_inference.control.instance_documents import document_of
from elastic_inference.control.listener import listen, listen_at
from elastic_inference.control.names import DOMAIN, POOL_NAME
from elastic_inference.control.operations import Operations
from elastic_inference.control.orders import Orders
from elastic_inference.control.own_addresses import OwnAddresses
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.pointer import Pointer
from elastic_inference.control.reachable import names_of
from elastic_inference.control.records import AccessKey
from elastic_inference.control.store import Store
from elastic_inference.errors import ConfigurationError
from elastic_inference.fleet.local import LocalFleet
from elastic_inference.settings import Limits, PoolSettings

_log = logging.getLogger(__name__)
_PORT = "port"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Pool:
    """A pool on this machine.

    Attributes:
        operations: its control API, for callers in this process.
        plane: its control plane.
        pointer: how others reach it.
    """

    def __init__(
        self,
        state: Path,
        *,
        settings: PoolSettings,
        limits: Limits,
        listen_on: str | None = None,
        outlive: bool,
        fleet_type: type[LocalFleet] = LocalFleet,
        front: Callable[[ControlPlane], Front] | None = None,
    ) -> None:
        """Start it.

        Args:
            state: the directory with all that it must not forget.
            listen_on: `HOST:PORT`; None for a free port on loopback, the same at each start.
            outlive: the accelerators go on when this process ends.
            fleet_type: what runs accelerators.
            front: makes what answers other requests than the control API's; see `Front`.

        Raises:
            ConflictError: another control plane uses `state`.
            ConfigurationError: the state, the catalogue or the address cannot be used.
        """
        with contextlib.ExitStack() as undo:
            home = settings.home.expanduser()
            # One by one: a directory that is made on the way to another is not private.
            for directory in (home, home / "accounts", state):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._store = Store(state, settings.database)
            undo.callback(self._store.close)
            authority = Authority.open(state)
            catalog = Catalog.load(settings.catalog)
            fleet = fleet_type(
                state / "run",
                home / "accounts",
                settings=settings,
                limits=limits,
                outlive=outlive,
            )
            undo.callback(fleet.close)
            listener = self._listen(listen_on)
            undo.callback(listener.close)
            host, port = listener.getsockname()[:2]
            self._store.set_setting(_PORT, str(port))
            reached_at = [name for name in names_of(host) if authority.may_vouch_for(name)]
            clock = Clock()
            self.pointer = self._point(host, port, authority)
            late = _LateEndpoint()
            compute = self._compute(state, settings, late, authority) if outlive else None
            orders = Orders(self._store, authority, catalog, clock, reached_at)
            self.plane = ControlPlane(
                self._store, fleet, orders, catalog, settings,
                compute=compute, drain_timeout=limits.drain_timeout, clock=clock,
            )  # fmt: skip
            own_addresses = OwnAddresses(self.plane, host, settings)
            self.operations = Operations(self.plane, own_addresses, authority.fingerprint)
            # A tunnel leads here from another machine's loopback address.
            names = list(dict.fromkeys([POOL_NAME, *_LOOPBACK, *reached_at]))
            tls = _context(authority.issue(names), state)
            undo.callback(self.plane.close)
            self.plane.open()
            self.pointer = self._point(host, port, authority)
            in_front = front(self.plane) if front else None
            api = Api(
                self.operations,
                self.plane.access,
                authority.path.read_bytes(),
                tls,
                settings.max_control_connections,
                settings.max_commands,
                in_front,
            )
            undo.callback(api.close)
            if in_front is not None:
                undo.callback(in_front.close)
                in_front.start()
            self._endpoint = Endpoint(
                listener,
                pool_names=frozenset(names),
                domain=DOMAIN,
                to_api=api.serve,
                to_accelerator=fleet.hand_over,
                hello_timeout=settings.hello_timeout,
                max_pending=settings.max_pending,
            )
            undo.callback(self._endpoint.close)
            late.come(self._endpoint)
            own_addresses.start(self._endpoint)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Stop serving. Accelerators go on, or end with the process, as `outlive` said."""
        self._undo.close()

    def _listen(self, address: str | None) -> socket.socket:
        if address is not None:
            return listen(address)
        # The port of last time, so that applications find the pool again after a restart.
        port = self._store.setting(_PORT)
        if port is not None:
            listener = listen_at("127.0.0.1", int(port))
            if listener is not None:
                return listener
            _log.warning("Port %s of last time is taken: who used it must look anew", port)
        return listen("127.0.0.1:0")

    def caller(self) -> Caller:
        """The account's owner as a caller in this process, for one call."""
        key = self._store.owner_key()
        if key is None:
            raise ConfigurationError("The pool's state has no credentials.")
        host, _, port = self.pointer.endpoint.removeprefix("https://").rpartition(":")
        nonce = secrets.token_urlsafe(24)
        return Caller(principal_of(key), host.strip("[]"), int(port), nonce=nonce)

    def _compute(
        self, state: Path, settings: PoolSettings, late: _LateEndpoint, authority: Authority
    ) -> Compute:
        # An `ei run` without a pool has no instances but its own.
        from elastic_inference.compute.local import LocalCompute  # noqa: PLC0415

        sockets = state / "run"
        sockets.mkdir(mode=0o711, exist_ok=True)
        return LocalCompute(
            state / "instances",
            settings=settings,
            document_of=self._document_of,
            open_endpoint=late.add,
            endpoint=self.pointer.endpoint,
            ca=authority.path,
            region=settings.region,
            # The accelerators' sockets: each lets in its own instance.
            expose=(sockets,),
        )

    def _document_of(self, instance_id: str) -> InstanceDocument | None:
        instance = self._store.instances.get(instance_id)
        if instance is None:
            return None
        document = document_of(self.plane, instance)
        return instance_document(document | {"userData": instance.user_data})

    def _point(self, host: str, port: int, authority: Authority) -> Pointer:
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "::1" if address.version == 6 else "127.0.0.1"
        bracketed = f"[{host}]" if ":" in host else host
        key = self._store.owner_key() or AccessKey(id="", secret="")
        return Pointer(
            endpoint=f"https://{bracketed}:{port}",
            server_name=POOL_NAME,
            ca=str(authority.path),
            access_key_id=key.id,
            secret_access_key=key.secret,
        )


class _LateEndpoint:
    """Listeners of instances that are opened before the endpoint is there, and later ones."""

    def __init__(self) -> None:
        self._endpoint: Endpoint | None = None
        self._waiting: dict[socket.socket, Callable[[], None]] = {}
        self._lock = threading.Lock()

    def add(self, listener: socket.socket) -> Callable[[], None]:
        """Serve a listener as the endpoint; what closes it."""
        with self._lock:
            if self._endpoint is not None:
                return self._endpoint.add(listener)
            self._waiting[listener] = listener.close
        return lambda: self._close(listener)

    def come(self, endpoint: Endpoint) -> None:
        """The endpoint is there."""
        with self._lock:
            self._endpoint = endpoint
            for listener in self._waiting:
                self._waiting[listener] = endpoint.add(listener)

    def _close(self, listener: socket.socket) -> None:
        with self._lock:
            close = self._waiting.pop(listener)
        close()


def _context(certificate: ServerCertificate, state: Path) -> ssl.SSLContext:
    path = state / "endpoint.pem"
    write_private(path, certificate.certificate + certificate.private_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(path)
    return context
