"""The fleet of this machine: accelerators are its processes."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from elastic_inference.catalog import AcceleratorType
from elastic_inference.errors import ElasticInferenceError, NotFoundError
from elastic_inference.fleet import mps
from elastic_inference.fleet.base import (
    Health,
    MoveWatcher,
    NodeReport,
    Order,
    Placement,
    Status,
    Watcher,
)
from elastic_inference.fleet.bytecode import prepare_bytecode
from elastic_inference.fleet.heartbeat import last_beat
from elastic_inference.fleet.lock import end_owner
from elastic_inference.fleet.measurements import Measurements
from elastic_inference.fleet.node import Node, usable_devices
from elastic_inference.fleet.resident import Resident, Ways, check_socket_path
from elastic_inference.fleet.supervisor import Supervisor
from elastic_inference.isolation import files, users
from elastic_inference.protocol.host import boot_id
from elastic_inference.settings import Limits, PoolSettings

log = logging.getLogger(__name__)

_KILL_TIMEOUT = 10.0


class LocalFleet:
    """A `Fleet` of processes on this machine.

    Args:
        directory: the accelerators' private directories lie in it.
        accounts: the accounts' uploads and caches lie in it.
        outlive: the accelerators go on when this process ends, to be adopted by the next
            fleet on `directory`; else they end with this process, however it ends.

    Raises:
        ConfigurationError: `directory` is too long a name for sockets.
    """

    def __init__(
        self,
        directory: Path,
        accounts: Path,
        *,
        settings: PoolSettings,
        limits: Limits,
        outlive: bool,
    ) -> None:
        check_socket_path(directory / ("0" * 12))
        self._directory = directory
        self._accounts = accounts
        self._measurements = Measurements(settings.home.expanduser())
        self._node = self._measured_node(settings)
        self._lifeline = None if outlive else os.pipe()
        self._ways = Ways(
            limits=limits,
            start_timeout=settings.start_timeout,
            lifeline=None if self._lifeline is None else self._lifeline[0],
        )
        self._boot_id = boot_id()
        self._told_of_mps = False
        self._separate = settings.separate_users == "auto" and _may_separate()
        self._residents: dict[str, Resident] = {}
        # Those whose first start is under way, and what is to be said to those that come.
        self._starting: dict[str, Resident] = {}
        self._revoked: dict[str, tuple[str, ...]] = {}
        self._watchers: list[Watcher] = []
        self._move_watchers: list[MoveWatcher] = []
        self._lock = threading.Lock()
        self._supervisor = Supervisor(settings, self._changed, self._relocate)

    def place(self, accelerator_type: AcceleratorType) -> Placement:
        placement = self._node.place(accelerator_type)
        if self._separate and (placement.device == "cpu" or self._gpus_have_many_users()):
            return replace(placement, uid=users.new_uid())
        return placement

    def release(self, placement: Placement) -> None:
        self._node.release(placement)

    def start(self, order: Order) -> None:
        resident = self._resident(order)
        with self._lock:
            self._starting[resident.id] = resident
        try:
            resident.start()
            self._keep(resident)
        except ElasticInferenceError:
            resident.stop(0)
            self._node.release(order.placement)
            raise
        finally:
            with self._lock:
                self._starting.pop(resident.id, None)

    def adopt(self, order: Order) -> bool:
        self._node.take(order.placement, order.accelerator_type.tflops_fp32)
        resident = self._resident(order)
        if not resident.adopt():
            return False
        self._keep(resident)
        return True

    def revive(self, order: Order) -> None:
        self._node.take(order.placement, order.accelerator_type.tflops_fp32)
        resident = self._resident(order)
        with self._lock:
            self._residents[resident.id] = resident
        self._supervisor.revive(resident)

    def renew(self, order: Order) -> None:
        with self._lock:
            resident = self._residents.get(order.accelerator_id)
        if resident is not None:
            resident.renew(order)

    def revoke(self, order: Order) -> None:
        accelerator_id = order.accelerator_id
        with self._lock:
            resident = self._residents.get(accelerator_id) or self._starting.get(accelerator_id)
            if resident is None:
                self._revoked[accelerator_id] = order.revoked
                return
        resident.revoke(order.revoked)

    def move(self, order: Order) -> Placement | None:
        with self._lock:
            resident = self._residents.get(order.accelerator_id)
        if resident is None or resident.stopping:
            return None
        self._supervisor.forget(resident)
        if self._relocate(resident):
            self._supervisor.revive(resident)
            return resident.order.placement
        if resident.control is None:
            self._supervisor.revive(resident)
        else:
            self._supervisor.follow(resident)
        return None

    def watch_moves(self, watcher: MoveWatcher) -> None:
        self._move_watchers.append(watcher)

    def last_alive(self, placement: Placement) -> float | None:
        return last_beat(self._directory / placement.place, self._boot_id)

    def nodes(self) -> tuple[NodeReport, ...]:
        # Whoever asks again a moment later sees what a processor really has.
        if self._lifeline is None:
            # The fleet of one command has no time for it.
            self._measurements.begin(self._node.devices)
        return (self._node.report(),)

    def stop(self, accelerator_ids: Sequence[str], grace: float) -> None:
        residents = []
        for accelerator_id in accelerator_ids:
            with self._lock:
                self._revoked.pop(accelerator_id, None)
                resident = self._residents.get(accelerator_id)
            if resident is None:
                continue
            resident.stopping = True
            self._supervisor.forget(resident)
            control = resident.control
            if control is not None:
                control.drain()
            residents.append(resident)
        for resident in residents:
            resident.stop(grace)
            self._node.release(resident.order.placement)
            with self._lock:
                self._residents.pop(resident.id, None)

    def status(self, accelerator_id: str) -> Status:
        with self._lock:
            resident = self._residents.get(accelerator_id)
        return Status(Health.UNKNOWN, 0) if resident is None else resident.status

    def hand_over(self, accelerator_id: str, connection: socket.socket, peer: str) -> None:
        self._get(accelerator_id).hand_over(connection, peer)

    def ask(self, accelerator_id: str, path: str, token: str) -> dict[str, Any]:
        return self._get(accelerator_id).ask(path, token)

    def local_address(self, accelerator_id: str) -> dict[str, Any] | None:
        resident = self._get(accelerator_id)
        return {
            "socket": str(resident.data_socket),
            "uid": resident.owner,
            "bootId": self._boot_id,
        }

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def sweep(self) -> None:
        kept = {resident.directory for resident in self._residents.values()}
        for directory in self._directory.iterdir() if self._directory.exists() else ():
            if directory not in kept and directory.is_dir():
                uid = directory.lstat().st_uid
                # A pool may run within an instance, as that one's user.
                if uid != os.geteuid() and users.owns(uid):
                    users.end_all(uid)
                else:
                    end_owner(directory / "lock", _KILL_TIMEOUT)
                files.remove_tree(directory)

    def close(self) -> None:
        self._supervisor.close()
        self._measurements.close()
        if self._lifeline is not None:
            for descriptor in self._lifeline:
                os.close(descriptor)
            self._lifeline = None
        for resident in self._residents.values():
            resident.let_go()

    def _gpus_have_many_users(self) -> bool:
        if not mps.is_running() or mps.serves_many_users():
            return True
        if not self._told_of_mps:
            self._told_of_mps = True
            log.warning(
                "Accelerators of GPUs run with root's rights: MPS serves one user at a time"
                " unless it was started as nvidia-cuda-mps-control -d -multiuser-server"
            )
        return False

    def _measured_node(self, settings: PoolSettings) -> Node:
        devices = usable_devices()
        for device in devices:
            # A GPU is cut by what it has; a processor's TFLOPS are declared.
            if device.kind == "cuda" and settings.gpu_tflops is None:
                self._measurements.get(device)
        return Node(settings, devices, self._measurements.known)

    def _resident(self, order: Order) -> Resident:
        with self._lock:
            revoked = self._revoked.pop(order.accelerator_id, None)
        if revoked is not None:
            order = replace(order, revoked=revoked)
        return Resident(
            order,
            self._directory / order.placement.place,
            self._accounts / order.account,
            self._ways,
        )

    def _keep(self, resident: Resident) -> None:
        with self._lock:
            self._residents[resident.id] = resident
        self._supervisor.follow(resident)

    def _get(self, accelerator_id: str) -> Resident:
        with self._lock:
            resident = self._residents.get(accelerator_id)
        if resident is None:
            raise NotFoundError(
                f"No accelerator {accelerator_id[:64]!r} runs here.",
                next_step="ei describe accelerators lists those that do.",
            )
        return resident

    def _relocate(self, resident: Resident) -> bool:
        """Give a resident that is not watched another place, its process being ended."""
        old = resident.order.placement
        new = replace(self._node.replace(resident.order.accelerator_type, old), uid=old.uid)
        try:
            # Whoever comes after this process must look for it there before anything is there.
            for watcher in self._move_watchers:
                watcher(resident.id, new)
        except Exception:
            log.exception("%s cannot be moved", resident.id)
            self._node.release(new)
            return False
        resident.move(new, self._directory / new.place)
        self._node.release(old)
        if resident.stopping:
            self._node.release(new)
        return True

    def _changed(self, resident: Resident) -> None:
        for watcher in self._watchers:
            watcher(resident.id, resident.status)


def _may_separate() -> bool:
    """Whether accelerators get users of their own; root is told why not."""
    if os.geteuid() != 0:
        return False
    separation = users.separation()
    if not separation.possible:
        log.warning("Accelerators run with root's rights: %s", separation.why_not)
        return False
    prepare_bytecode()
    return True
