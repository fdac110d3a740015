"""What the control plane does by itself: end leases, try again, take notes, look after health."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from elastic_inference.control import records
from elastic_inference.control.lifecycle import Lifecycle
from elastic_inference.control.records import Instance
from elastic_inference.errors import ConflictError, ElasticInferenceError

if TYPE_CHECKING:
    from elastic_inference.control.plane import ControlPlane

_log = logging.getLogger(__name__)
# Who wakes up so much too late was stopped itself, and could not hear anybody.
_LATE = 0.5
# Between two tries to end an instance.
_PAUSE = 5.0
_PURGE = 60.0


class Watch:
    """One thread that keeps promises nobody waits for."""

    def __init__(self, plane: ControlPlane, lifecycle: Lifecycle) -> None:
        self._plane = plane
        self._lifecycle = lifecycle
        self._changed = threading.Condition()
        # Monotonic times: when a silent instance ends, when an end that could not be written down
        # is tried again, and when something that was promised is.
        self._leases: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._retries: dict[str, float] = {}
        self._next_note = 0.0
        self._next_purge = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self, running: Sequence[Instance]) -> None:
        for instance in running:
            self.renew(instance)
        for instance_id in self._lifecycle.unsettled():
            self.retry(instance_id)
        self._thread.start()

    def close(self) -> None:
        """Once or more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def renew(self, instance: Instance) -> None:
        """Begin an instance's lease anew, if it has one."""
        with self._changed:
            if instance.lease_seconds is not None:
                self._leases[instance.id] = time.monotonic() + instance.lease_seconds
                self._changed.notify_all()

    def forget(self, instance_id: str) -> None:
        """It is being ended: its lease does not matter any more."""
        with self._changed:
            self._leases.pop(instance_id, None)

    def retry(self, instance_id: str) -> None:
        """Settle an instance in a while."""
        with self._changed:
            self._retries[instance_id] = time.monotonic() + _PAUSE
            self._changed.notify_all()

    def end(self, instance_id: str) -> None:
        """Terminate an instance in a while: that could not even be promised now."""
        with self._changed:
            self._leases.pop(instance_id, None)
            self._ends[instance_id] = time.monotonic() + _PAUSE
            self._changed.notify_all()

    def _run(self) -> None:
        asleep, due = 0.0, math.inf
        while True:
            with self._changed:
                if self._closed:
                    return
                now = time.monotonic()
                if now - due > _LATE:
                    for name in self._leases:
                        self._leases[name] += now - asleep
                silent = self._take(self._leases, now)
                ends = self._take(self._ends, now)
                again = self._take(self._retries, now)
                notes = now >= self._next_note
                if not (silent or ends or again or notes):
                    asleep = now
                    times = (self._leases, self._ends, self._retries)
                    due = min([self._next_note, *(at for each in times for at in each.values())])
                    self._changed.wait(max(0.0, due - now))
                    continue
                asleep, due = now, math.inf
            for instance_id in silent:
                _log.warning("%s has been silent for its whole lease and is ended", instance_id)
            self._work([*silent, *ends], again, notes=notes)

    @staticmethod
    def _take(times: dict[str, float], now: float) -> list[str]:
        due = [name for name, at in times.items() if at <= now]
        for name in due:
            del times[name]
        return due

    def _work(self, ends: Sequence[str], again: Sequence[str], *, notes: bool) -> None:
        for instance_id in ends:
            self._guarded(instance_id, self._plane.terminate, self.end)
        for instance_id in again:
            self._guarded(instance_id, self._lifecycle.settle, self.retry)
        if notes:
            self._next_note = time.monotonic() + self._plane.settings.meter_interval
            self._guarded("", lambda _: self._take_notes(), lambda _: None)

    def _guarded(
        self, instance_id: str, act: Callable[[str], object], later: Callable[[str], None]
    ) -> None:
        """Without this thread no lease would ever end again."""
        try:
            act(instance_id)
        except Exception as error:  # noqa: BLE001 - see above
            if not isinstance(error, ElasticInferenceError):
                _log.exception("The control plane's watch failed and goes on")
            elif instance_id:
                _log.warning("%s is not settled and will be tried again: %s", instance_id, error)
            else:
                _log.warning("%s", error)
            if instance_id and self._is_there(instance_id):
                later(instance_id)

    def _is_there(self, instance_id: str) -> bool:
        try:
            instance = self._plane.store.instances.get(instance_id)
        except ElasticInferenceError:
            return True
        return instance is not None and instance.state != records.TERMINATED

    def _take_notes(self) -> None:
        try:
            self._plane.store.check_owned()
        except ConflictError as error:
            # Whatever this process did from now on, it would undo what the other does.
            _log.critical("%s This one ends.", error.message)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._plane.health.agree()
        self._plane.meter.note()
        if time.monotonic() >= self._next_purge:
            self._next_purge = time.monotonic() + _PURGE
            self._plane.connections.forget_expired()
            self._plane.access.forget_expired()
            self._plane.note_nodes()
