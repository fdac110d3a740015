"""Watches from outside which accelerator processes live, whatever the control plane says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from elastic_inference.accelerator.heartbeat import FILE_NAME, parse

INTERVAL = 0.02
_COMMAND = re.compile(rb"-m\0elastic_inference\.accelerator\0([^\0]+/config\.json)\0")
# A process is looked at anew for so many rounds: its command line changes when it execs.
_ROUNDS = 100


@dataclass(slots=True)
class Life:
    """One process of an accelerator; times are of the monotonic clock.

    Attributes:
        ready: when it served, by its own first heartbeat; None: it has not come so far.
        ended: None while it lives.
    """

    accelerator_id: str
    pid: int
    uid: int
    place: str
    born: float
    ready: float | None = None
    ended: float | None = None
    descriptor: int = field(default=-1, repr=False)


class Sampler:
    """A thread that looks every `INTERVAL` seconds; a process's end is seen to the millisecond."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._mark = os.fsencode(run)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._lives: list[Life] = []
        self._seen: dict[int, int] = {}
        self._poll = select.poll()
        self._thread = threading.Thread(target=self._watch, name="sampler")
        self._thread.start()

    def lives(self) -> list[Life]:
        """All until now."""
        with self._lock:
            return list(self._lives)

    def alive(self) -> list[Life]:
        """Those that live."""
        return [each for each in self.lives() if each.ended is None]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for each in self.alive():
            os.close(each.descriptor)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._find()
            ended = {descriptor for descriptor, _ in self._poll.poll(INTERVAL * 1000)}
            now = time.monotonic()
            for each in self.alive():
                if each.descriptor in ended:
                    self._poll.unregister(each.descriptor)
                    os.close(each.descriptor)
                    each.ended = now
                elif each.ready is None:
                    each.ready = self._first_beat(each)
            if ended:
                # poll() came back at once.
                time.sleep(INTERVAL / 2)

    def _find(self) -> None:
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - often
        for gone in self._seen.keys() - pids:
            del self._seen[gone]
        for pid in pids:
            rounds = self._seen.get(pid, 0)
            if rounds < _ROUNDS:
                self._seen[pid] = rounds + 1
                with contextlib.suppress(OSError, ValueError, KeyError):
                    self._look_at(pid)

    def _look_at(self, pid: int) -> None:
        words = Path("/proc", str(pid), "cmdline").read_bytes()
        if self._mark not in words:
            return
        found = _COMMAND.search(words)
        if found is None:
            return
        config = Path(os.fsdecode(found[1]))
        accelerator_id = str(json.loads(config.read_text())["accelerator_id"])
        born = time.monotonic()
        uid = Path("/proc", str(pid)).stat().st_uid
        descriptor = os.pidfd_open(pid)
        self._poll.register(descriptor, select.POLLIN)
        self._seen[pid] = _ROUNDS
        life = Life(accelerator_id, pid, uid, config.parent.name, born, descriptor=descriptor)
        with self._lock:
            self._lives.append(life)

    def _first_beat(self, life: Life) -> float | None:
        try:
            beat = parse((self._run / life.place / FILE_NAME).read_bytes())
        except OSError:
            return None
        return beat.seconds if beat is not None and beat.seconds >= life.born else None
