"""A whole pool in this process: state, fleet, control plane, API and endpoint."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import ssl
from pathlib import Path

from elastic_inference.catalog import Catalog
from elastic_inference.control.api import Api
from elastic_inference.control.certificates import (
    DOMAIN,
    POOL_NAME,
    Authority,
    ServerCertificate,
    write_private,
)
from elastic_inference.control.endpoint import Endpoint
from elastic_inference.control.listener import listen, listen_at
from elastic_inference.control.operations import Operations
from elastic_inference.control.own_addresses import OwnAddresses
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.pointer import Pointer
from elastic_inference.control.reachable import names_of
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
    ) -> None:
        """Start it.

        Args:
            state: the directory with all that it must not forget.
            listen_on: `HOST:PORT`; None for a free port on loopback, the same at each start.
            outlive: the accelerators go on when this process ends.

        Raises:
            ConflictError: another control plane uses `state`.
            ConfigurationError: the state, the catalogue or the address cannot be used.
        """
        with contextlib.ExitStack() as undo:
            home = settings.home.expanduser()
            # One by one: a directory that is made on the way to another is not private.
            for directory in (home, home / "accounts", state):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._store = Store(state)
            undo.callback(self._store.close)
            authority = Authority.open(state)
            catalog = Catalog.load(settings.catalog)
            fleet = LocalFleet(
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
            self.plane = ControlPlane(
                self._store, fleet, authority, catalog, settings,
                drain_timeout=limits.drain_timeout, reached_at=reached_at,
            )  # fmt: skip
            own_addresses = OwnAddresses(self.plane, host, settings)
            self.operations = Operations(self.plane, own_addresses)
            # A tunnel leads here from another machine's loopback address.
            names = list(dict.fromkeys([POOL_NAME, *_LOOPBACK, *reached_at]))
            tls = _context(authority.issue(names), state)
            self.plane.open()
            undo.callback(self.plane.close)
            api = Api(self.operations, self._store, tls, settings.max_control_connections)
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
            own_addresses.start(self._endpoint)
            self.pointer = self._point(host, port, authority)
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

    def _point(self, host: str, port: int, authority: Authority) -> Pointer:
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "::1" if address.version == 6 else "127.0.0.1"
        bracketed = f"[{host}]" if ":" in host else host
        key = self._store.access_key_of(None)
        if key is None:
            raise ConfigurationError("The pool's state has no credentials.")
        return Pointer(
            endpoint=f"https://{bracketed}:{port}",
            server_name=POOL_NAME,
            ca=str(authority.path),
            access_key_id=key.id,
            secret_access_key=key.secret,
        )


def _context(certificate: ServerCertificate, state: Path) -> ssl.SSLContext:
    path = state / "endpoint.pem"
    write_private(path, certificate.certificate + certificate.private_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(path)
    return context
