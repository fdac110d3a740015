"""`ei up` as a process of its own, which is killed and started again."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from elastic_inference.control.pointer import Pointer
from tests.faults import proc
from tests.faults.crew import ROOT, until
from tests.pools import EI, Program, environment

SETTINGS = {
    "EI_HEALTH_INTERVAL": "300ms",
    "EI_HANG_TIMEOUT": "20s",
    "EI_DRAIN_TIMEOUT": "5s",
    "EI_CONTROL_GRACE": "120s",
    "EI_NODE_MEMORY": "64GiB",
    "EI_VIRTUAL_TFLOPS": "64",
    "EI_METER_INTERVAL": "1s",
}
# What a control plane says at the least when something goes wrong in itself.
_TROUBLE = ("Traceback", "failed and goes on", "CRITICAL", "cannot be moved")


class Plane:
    """The control plane of one state directory, one process after the other.

    Attributes:
        downs: when it was not there: (killed at, ready again at), monotonic.
        kills: how often it was killed.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.state = self.home / "pool"
        self.kills = 0
        self.downs: list[tuple[float, float]] = []
        self.up = threading.Event()
        self._env = environment(
            self.home,
            PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            PYTHONUNBUFFERED="1",
            XDG_CACHE_HOME=str(folder / "cache"),
            TMPDIR=str(folder),
            ORT_DISABLE_TELEMETRY="1",
            **{**SETTINGS, **settings},
        )
        self._programs: list[Program] = []
        self._killed = 0.0
        self.start()

    @property
    def pid(self) -> int:
        return self._programs[-1].pid

    def pointer(self) -> Pointer:
        found = Pointer.load(self.home)
        assert found is not None
        return found

    def spawn(self) -> None:
        """Start the process, and do not wait for it."""
        self._programs.append(Program([*EI, "up"], self._env))

    def start(self) -> None:
        """Start it, if need be, and wait until it serves."""
        if not self._programs or self._programs[-1].process.poll() is not None:
            self.spawn()
        self._programs[-1].wait_for("Ready")
        if self._killed:
            self.downs.append((self._killed, time.monotonic()))
        self._killed = 0.0
        self.up.set()

    def kill(self) -> None:
        """kill -9, in whatever it does."""
        self.up.clear()
        self._killed = self._killed or time.monotonic()
        os.kill(self.pid, signal.SIGKILL)
        self._programs[-1].end(signal.SIGKILL)
        self.kills += 1

    def was_up(self, begin: float, end: float) -> bool:
        """Whether it was there all the time."""
        return all(end < killed or begin > ready for killed, ready in self.downs)

    def said(self) -> list[str]:
        """The last lines of each process."""
        return [line.rstrip() for each in self._programs for line in each.said()]

    def troubles(self) -> list[str]:
        """What it said of failures of its own, with the lines after each."""
        lines = self.said()
        return [
            " | ".join(lines[index : index + 40])
            for index, line in enumerate(lines)
            if any(mark in line for mark in _TROUBLE)
        ]

    def close(self) -> None:
        """End it and all that it has started."""
        self._programs[-1].end(signal.SIGTERM)

    def end_all(self) -> None:
        """Kill whatever is left; nothing is, if all went well."""
        for each in self._programs:
            each.end(signal.SIGKILL)
        for pid in proc.of_folder(self.folder):
            os.kill(pid, signal.SIGKILL)
        until("all processes to end", lambda: not proc.of_folder(self.folder))
