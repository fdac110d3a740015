"""Keeps accelerators alive: sees them die, asks how they are, starts them again."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from elastic_inference.errors import ElasticInferenceError
from elastic_inference.fleet import probe as probes
from elastic_inference.fleet.base import ENDED, Health
from elastic_inference.fleet.control_connection import ControlConnection
from elastic_inference.fleet.resident import Resident
from elastic_inference.fleet.steadiness import Steadiness
from elastic_inference.settings import PoolSettings

_log = logging.getLogger(__name__)
_SHORTEST_PROBE = 1.0
# A process that served this long begins with a clean slate when it ends.
_STEADY = 60.0
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
# Who wakes up so much too late was stopped itself, and cannot say that others were silent.
_LATE = 0.5
# So many inference checks that fail in a row make an accelerator impaired, and end it.
_IMPAIRED_AFTER = 2
_ENDED_AFTER = 4
_SILENT = "it does not answer"
_FLAPPING = "it was impaired again and again, and must be well for a while"
_DISK_FULL = "No space left on device"


@dataclass(slots=True)
class _Case:
    """What the supervisor knows of one resident.

    Attributes:
        failed_checks: inference checks that failed in a row.
        failed_here: how often in a row it was not well again after a start in its place.
        ill: it must show that it infers before it is said to be well, in another place too.
    """

    resident: Resident
    probe: socket.socket | None = None
    probe_until: float = 0.0
    heard: bytes = b""
    next_probe: float = 0.0
    last_alive: float = field(default_factory=time.monotonic)
    restart_at: float | None = None
    restarting: bool = False
    failed_checks: int = 0
    failed_here: int = 0
    ill: bool = False
    steadiness: Steadiness = field(default_factory=Steadiness)


class Supervisor:
    """One thread that watches every accelerator of a fleet.

    Args:
        changed: told of each change of an accelerator's health.
        move: gives an accelerator whose process has ended another place; False if it cannot.
    """

    def __init__(
        self,
        settings: PoolSettings,
        changed: Callable[[Resident], None],
        move: Callable[[Resident], bool],
    ) -> None:
        self._settings = settings
        self._changed = changed
        self._move = move
        self._probe_timeout = min(
            max(_SHORTEST_PROBE, settings.health_interval), settings.hang_timeout
        )
        self._cases: dict[str, _Case] = {}
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def follow(self, resident: Resident) -> None:
        """Watch a resident that serves, and start it again whenever it ends."""
        self._call(lambda: self._follow(resident))

    def revive(self, resident: Resident) -> None:
        """Start a resident that has ended, again and again until it serves, and watch it."""
        self._call(lambda: self._revive(resident))

    def forget(self, resident: Resident) -> None:
        """Watch it no more; when this returns its sockets are its owner's alone."""
        self._call(lambda: self._forget(resident))

    def close(self) -> None:
        """End the thread; once or more."""
        if self._closed:
            return
        self._call(lambda: setattr(self, "_closed", True))
        self._thread.join()
        self._selector.close()
        os.close(self._wake)

    def _call(self, call: Callable[[], None]) -> None:
        """Run `call` in the supervisor's thread and wait for it."""
        if self._closed:
            return
        done = threading.Event()

        def run() -> None:
            try:
                call()
            finally:
                done.set()

        self._calls.append(run)
        os.eventfd_write(self._wake, 1)
        done.wait()

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._calls:
            self._calls.popleft()()

    def _run(self) -> None:
        awake = time.monotonic()
        while not self._closed:
            patience = self._patience()
            for key, _ in self._selector.select(patience):
                with self._going_on():
                    key.data()
            now = time.monotonic()
            late = 0.0 if patience is None else now - awake - patience
            awake = now
            for case in list(self._cases.values()):
                if late > _LATE:
                    case.last_alive += late
                    case.probe_until += late
                with self._going_on():
                    self._tick(case, now)
        for case in self._cases.values():
            self._end_probe(case)

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """One accelerator's trouble is not the others': nobody else would see them die."""
        try:
            yield
        except Exception:  # noqa: BLE001 - see above
            _log.exception("The watch over an accelerator failed and goes on")

    def _patience(self) -> float | None:
        due = []
        for case in self._cases.values():
            if case.restart_at is not None:
                due.append(case.restart_at)
            elif case.resident.control is not None:
                due.append(case.next_probe if case.probe is None else case.probe_until)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _follow(self, resident: Resident) -> None:
        control = resident.control
        if control is None or resident.stopping:
            return
        case = self._cases.setdefault(resident.id, _Case(resident))
        case.last_alive = case.next_probe = time.monotonic()
        case.failed_checks = 0
        self._selector.register(control, selectors.EVENT_READ, lambda: self._heard(case, control))
        # One that has said who it is serves; one that was ill must show that it infers.
        if control.greeted and not case.ill:
            resident.reachable = True
            case.next_probe += self._settings.health_interval
            self._set_health(case, Health.OK)

    def _revive(self, resident: Resident) -> None:
        case = self._cases.setdefault(resident.id, _Case(resident))
        self._silent(case, ENDED)
        self._schedule(case, time.monotonic())

    def _heard(self, case: _Case, control: ControlConnection) -> None:
        if control.ended():
            self._lost(case)

    def _forget(self, resident: Resident) -> None:
        case = self._cases.pop(resident.id, None)
        if case is not None:
            self._unregister(case)

    def _unregister(self, case: _Case) -> None:
        self._end_probe(case)
        if case.resident.control is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(case.resident.control)

    def _tick(self, case: _Case, now: float) -> None:
        if case.restart_at is not None:
            if now >= case.restart_at:
                self._restart(case)
        elif not case.restarting:
            if case.probe is not None and now >= case.probe_until:
                self._end_probe(case)
                self._silent(case)
            if now - case.last_alive > self._settings.hang_timeout and case.resident.control:
                _log.warning("%s does not answer and is ended", case.resident.id)
                case.last_alive = now
                case.resident.control.kill()
            elif case.probe is None and now >= case.next_probe:
                self._begin_probe(case, now)

    def _begin_probe(self, case: _Case, now: float) -> None:
        case.next_probe = now + self._settings.health_interval
        case.probe_until = now + self._probe_timeout
        case.heard = b""
        try:
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            _log.warning("%s cannot be asked how it is: %s", case.resident.id, error)
            # Who was not asked has not been silent.
            case.last_alive = now
            self._set_health(case, Health.UNKNOWN, f"it cannot be asked how it is: {error}")
            return
        probe.setblocking(False)
        try:
            probe.connect(str(case.resident.data_socket))
            probe.send(probes.REQUEST)
        except OSError:
            probe.close()
            self._silent(case)
            return
        case.probe = probe
        self._selector.register(probe, selectors.EVENT_READ, lambda: self._hear(case, probe))

    def _hear(self, case: _Case, probe: socket.socket) -> None:
        try:
            piece = probe.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        case.heard += piece
        if piece and len(case.heard) < probes.MAX_ANSWER:
            return
        self._end_probe(case)
        finding = probes.read(case.heard)
        if not finding.alive:
            self._silent(case)
            return
        case.last_alive = time.monotonic()
        case.resident.reachable = True
        case.resident.memory_used = finding.memory_used
        case.resident.tell()
        if finding.trouble:
            self._troubled(case, finding)
        else:
            case.failed_checks = case.failed_here = 0
            case.ill = False
            self._set_health(case, Health.OK)

    def _troubled(self, case: _Case, finding: probes.Finding) -> None:
        """It answers, but it does not infer."""
        case.failed_checks += 1
        if finding.lost or case.ill or case.failed_checks >= _IMPAIRED_AFTER:
            self._set_health(case, Health.IMPAIRED, finding.trouble)
        control = case.resident.control
        if (finding.lost or case.failed_checks >= _ENDED_AFTER) and control is not None:
            _log.warning("%s is ended: %s", case.resident.id, finding.trouble)
            case.failed_checks = 0
            case.failed_here += 1
            case.ill = True
            control.kill()

    def _silent(self, case: _Case, reason: str = _SILENT) -> None:
        case.resident.reachable = False
        case.resident.memory_used = None
        self._set_health(case, Health.IMPAIRED, reason)

    def _end_probe(self, case: _Case) -> None:
        if case.probe is not None:
            self._selector.unregister(case.probe)
            case.probe.close()
            case.probe = None

    def _lost(self, case: _Case) -> None:
        self._unregister(case)
        now = time.monotonic()
        if now - case.resident.up_since > _STEADY:
            case.resident.failures = 0
        # Why it was ended says more than that it was.
        ended = ENDED if case.resident.health is Health.OK else case.resident.reason or ENDED
        self._silent(case, ended)
        _log.warning("%s has ended and is started again", case.resident.id)
        self._schedule(case, now)

    def _schedule(self, case: _Case, now: float) -> None:
        case.resident.failures += 1
        again = case.resident.failures - 2
        delay = 0.0 if again < 0 else min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(again, 16))
        case.restart_at = now + delay

    def _restart(self, case: _Case) -> None:
        case.restart_at = None
        case.restarting = True
        moves = case.failed_here >= self._settings.move_after

        def restart() -> None:
            try:
                if moves and self._move(case.resident):
                    _log.warning("%s is moved, since its place does not heal", case.resident.id)
                case.resident.start()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                why = error.message if isinstance(error, ElasticInferenceError) else repr(error)
                _log.warning("%s: %s", case.resident.id, why)
                counts = not _is_hosts_fault(error)
                self._post(lambda: self._restarted(case, serves=False, counts=counts))
            else:
                self._post(lambda: self._restarted(case, serves=True))

        if moves:
            case.failed_here = 0
        try:
            threading.Thread(target=restart, name="restart", daemon=True).start()
        except RuntimeError as error:
            _log.warning("%s: %s", case.resident.id, error)
            self._restarted(case, serves=False, counts=False)

    def _post(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        if not self._closed:
            os.eventfd_write(self._wake, 1)

    def _restarted(self, case: _Case, *, serves: bool, counts: bool = False) -> None:
        case.restarting = False
        if self._cases.get(case.resident.id) is not case:
            return
        if serves:
            case.resident.restarts += 1
            self._follow(case.resident)
        else:
            case.failed_here += counts
            case.ill = case.ill or counts
            self._schedule(case, time.monotonic())

    def _set_health(self, case: _Case, health: Health, reason: str = "") -> None:
        resident = case.resident
        shown = case.steadiness.show(health, time.monotonic())
        resident.reason = reason if shown is health else _FLAPPING
        if resident.health is not shown:
            resident.health = shown
            self._changed(resident)


def _is_hosts_fault(error: Exception) -> bool:
    """Whether a start failed for a reason that another place would not change."""
    return isinstance(error.__cause__, OSError) or _DISK_FULL in str(error)
