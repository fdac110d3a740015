"""One accelerator of this machine: its directory, its process and how it fares."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elastic_inference.accelerator.config import AcceleratorConfig
from elastic_inference.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnavailableError,
)
from elastic_inference.fleet import mps, process
from elastic_inference.fleet.base import Health, Order, Placement, Status
from elastic_inference.fleet.control_connection import ControlConnection
from elastic_inference.fleet.lock import end_owner
from elastic_inference.isolation import files, shared, users
from elastic_inference.protocol.json_object import parse_object
from elastic_inference.settings import Limits

log = logging.getLogger(__name__)

_HELLO_TIMEOUT = 1.0
_ANSWER_TIMEOUT = 2.0
_KILL_TIMEOUT = 10.0
_MAX_ANSWER = 1 << 20
# sun_path holds 108 bytes, the last of them NUL.
_MAX_SOCKET_PATH = 107
# Equal to no list of rights that an order may have.
_NOTHING_YET = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How a fleet runs its accelerators.

    Attributes:
        limits: what each accelerator accepts.
        start_timeout: seconds until one must serve.
        lifeline: a pipe's read end, at whose end the accelerators end; None: they outlive
            this process.
    """

    limits: Limits
    start_timeout: float
    lifeline: int | None


class Resident:
    """An accelerator process and its private directory.

    Attributes:
        control: the connection to the running process; None while there is none.
        failures: how often in a row it ended or did not start.
        up_since: monotonic time since when it serves.
        reachable, memory_used: see `Status`.
    """

    def __init__(self, order: Order, directory: Path, store: Path, ways: Ways) -> None:
        self.order = order
        self.directory = directory
        self.control: ControlConnection | None = None
        self.stopping = False
        self.health = Health.UNKNOWN
        self.reason = ""
        self.reachable = True
        self.memory_used: int | None = None
        self.restarts = 0
        self.failures = 0
        self.up_since = 0.0
        self._store = store
        self._ways = ways
        self._child: subprocess.Popen[bytes] | None = None
        # Held while a process is started or ended, so that never two run in one directory.
        self._life = threading.Lock()
        # Held for a moment while the order is changed.
        self._ordering = threading.Lock()
        # The rights that the running process was told not to serve.
        self._told: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.order.accelerator_id

    @property
    def status(self) -> Status:
        return Status(self.health, self.restarts, self.reason, self.reachable, self.memory_used)

    @property
    def owner(self) -> int:
        """The user that the process runs as."""
        uid = self.order.placement.uid
        return os.geteuid() if uid is None else uid

    @property
    def data_socket(self) -> Path:
        return self.directory / "data.sock"

    def start(self) -> None:
        """Start the process, after the end of an earlier one.

        Raises:
            UnavailableError: it did not become ready, or is being stopped.
        """
        with self._life:
            self._bury()
            if self.stopping:
                raise UnavailableError("The accelerator is being stopped.", accelerator_id=self.id)
            try:
                config = self._prepare()
                inherited = () if self._ways.lifeline is None else (self._ways.lifeline,)
                started = process.launch(
                    config,
                    detach=self._ways.lifeline is None,
                    device=device_environment(self.order),
                    inherited=inherited,
                    timeout=self._ways.start_timeout,
                    own=self._rights(),
                )
            except OSError as error:
                raise UnavailableError(
                    f"The accelerator did not start: {error}.", accelerator_id=self.id
                ) from error
            self._child = started.child
            self._connect()
        self.tell()

    def adopt(self) -> bool:
        """Connect to a process that runs in the directory already."""
        with self._life:
            try:
                self._connect()
            except UnavailableError:
                return False
            # Without the new one it goes on with the certificate that it has.
            with contextlib.suppress(UnavailableError):
                self._renew()
        # What it knows may be older than this process.
        self._told = _NOTHING_YET
        self.tell()
        return True

    def renew(self, order: Order) -> None:
        """See `Fleet.renew`.

        Raises:
            UnavailableError: the certificate cannot be written.
        """
        with self._life:
            with self._ordering:
                self.order = replace(
                    self.order, certificate=order.certificate, private_key=order.private_key
                )
            self._renew()
        self.tell()

    def revoke(self, revoked: tuple[str, ...]) -> None:
        """See `Fleet.revoke`."""
        with self._ordering:
            self.order = replace(self.order, revoked=revoked)
        self.tell()

    def tell(self) -> None:
        """Say which rights are revoked, unless it was said; never blocks long, never raises.

        Who holds `_life` meanwhile calls this when it is done.
        """
        while self._told != self.order.revoked and self._life.acquire(blocking=False):
            try:
                if self.control is None or self.stopping:
                    return
                self._write_config()
                self.control.revoke()
            except OSError as error:
                self._told = _NOTHING_YET
                log.warning("%s cannot be told which rights are revoked: %s", self.id, error)
                return
            finally:
                self._life.release()

    def move(self, placement: Placement, directory: Path) -> None:
        """End the process, remove its directory and live in another from now on."""
        with self._life:
            self._bury()
            files.remove_tree(self.directory)
            with self._ordering:
                self.order = replace(self.order, placement=placement)
            self.directory = directory

    def stop(self, grace: float) -> None:
        """End the process and remove the directory."""
        with self._life:
            if self.control is not None:
                # One that was just being started was not asked yet.
                self.control.drain()
                self.control.wait(grace)
            self._bury()
            files.remove_tree(self.directory)

    def let_go(self) -> None:
        """Close the control connection; a process without a lifeline goes on."""
        self.stopping = True
        with self._life:
            if self._ways.lifeline is not None:
                self._bury()
            elif self.control is not None:
                self.control.close()
                self.control = None

    def hand_over(self, connection: socket.socket, peer: str) -> None:
        """See `Fleet.hand_over`."""
        control = self.control
        if control is None:
            raise UnavailableError("The accelerator is being started.", accelerator_id=self.id)
        try:
            control.hand_over(connection, peer)
        except OSError as error:
            raise UnavailableError(
                f"The accelerator cannot take the connection: {error}.", accelerator_id=self.id
            ) from error

    def ask(self, path: str, token: str) -> dict[str, Any]:
        """See `Fleet.ask`."""
        connection = _UnixConnection(self.data_socket)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            raw = response.read(_MAX_ANSWER)
            answer = parse_object(raw, "Its answer") if response.status == 200 else {}
        except (OSError, ValueError, http.client.HTTPException, InvalidRequestError) as error:
            raise UnavailableError(
                f"The accelerator does not answer: {error}.", accelerator_id=self.id
            ) from error
        finally:
            connection.close()
        if not answer:
            raise UnavailableError(
                f"The accelerator answers with status {response.status}.", accelerator_id=self.id
            )
        return answer

    def _connect(self) -> None:
        self.control = ControlConnection.open(
            self.directory / "handover.sock",
            self.id,
            _HELLO_TIMEOUT,
            silent_too=True,
            uid=self.owner,
        )
        self.up_since = time.monotonic()

    def _renew(self) -> None:
        """Have a running process read its certificate again."""
        if self.control is None or self.stopping:
            return
        try:
            self._write_certificate()
        except OSError as error:
            raise UnavailableError(
                f"The accelerator's certificate cannot be written: {error}.",
                next_step="See whether the disk with the pool's state is full.",
                accelerator_id=self.id,
            ) from error
        self.control.renew()

    @property
    def _certificate_files(self) -> tuple[Path, Path]:
        return self.directory / "server.pem", self.directory / "server.key"

    def _write_certificate(self) -> None:
        certificate, key = self._certificate_files
        uid = self.order.placement.uid
        files.write_private(certificate, self.order.certificate, uid)
        files.write_private(key, self.order.private_key, uid)

    def _bury(self) -> None:
        """See to it that no process of ours runs here."""
        if self.control is not None:
            self.control.kill()
            self.control.wait(_KILL_TIMEOUT)
            self.control.close()
            self.control = None
        if self._child is not None:
            if self._child.poll() is None:
                self._child.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_KILL_TIMEOUT)
            self._child = None
        uid = self.order.placement.uid
        if uid is None:
            # One that detached itself and never came to listen.
            end_owner(self.directory / "lock", _KILL_TIMEOUT)
        elif self.directory.exists():
            # That one too, and what it started.
            users.end_all(uid)

    def _prepare(self) -> Path:
        """Write what the process reads; what it kept from an earlier life stays."""
        check_socket_path(self.directory)
        self.directory.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._store.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (uid := self.order.placement.uid) is not None:
            # Clients of other users pass through both to the socket, and see nothing else.
            self.directory.parent.chmod(0o711)
            files.own(self.directory, uid, 0o711 if self.order.clients else 0o700)
        self._write_certificate()
        for name in ("data.sock", "handover.sock"):
            (self.directory / name).unlink(missing_ok=True)
        return self._write_config()

    def _rights(self) -> process.Own | None:
        uid = self.order.placement.uid
        if uid is None:
            return None
        return process.Own(uid, shared.share(self._store), (self._store,))

    def _write_config(self) -> Path:
        order = self.order
        placement, ways = order.placement, self._ways
        path = self.directory / "config.json"
        certificate, key = self._certificate_files
        AcceleratorConfig(
            accelerator_id=self.id,
            accelerator_type=order.accelerator_type.name,
            account=order.account,
            memory_bytes=order.accelerator_type.memory_bytes,
            threads=placement.threads,
            # It sees its own device alone, as the first.
            device="cpu" if placement.device == "cpu" else "cuda:0",
            directory=self.directory,
            store_directory=self._store,
            token_key=order.token_key.hex(),
            server_name=order.server_name,
            certificate=certificate,
            private_key=key,
            lifeline_fd=ways.lifeline,
            control_grace=ways.limits.control_grace if ways.lifeline is None else None,
            revoked=order.revoked,
            clients=order.clients,
            limits=ways.limits,
        ).to_file(path, placement.uid)
        self._told = order.revoked
        return path


def check_socket_path(directory: Path) -> None:
    """Refuse a directory whose name leaves no room for a socket's.

    Raises:
        ConfigurationError: it is too long.
    """
    if len(os.fsencode(directory / "handover.sock")) > _MAX_SOCKET_PATH:
        raise ConfigurationError(
            f"{directory} is too long a name: sockets lie in it.",
            next_step="Take a shorter --state DIR or EI_HOME (60 characters are enough).",
        )


def device_environment(order: Order) -> Mapping[str, str]:
    """The variables that give the process its share of a GPU; none on a CPU.

    MPS bounds compute and memory where its daemon runs.
    """
    placement = order.placement
    if placement.device == "cpu":
        return {}
    share = {
        "CUDA_VISIBLE_DEVICES": placement.device.partition(":")[2],
        # CUDA then counts the cards as NVML does, which found them.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    if mps.is_running():
        share["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(placement.percentage)
        share["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={order.accelerator_type.memory_mib}M"
    return share


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
