"""`ei up` and `ei run` as processes, and a look at what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from elastic_inference.errors import UnavailableError
from elastic_inference.fleet.control_connection import ControlConnection

EI = (sys.executable, "-m", "elastic_inference.cli")
PATIENCE = 60.0


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a user whose pool lies in `home`."""
    return dict(os.environ) | {"EI_HOME": str(home), "EI_BANNER": "off"} | more


def ei(
    home: Path, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `ei` to its end."""
    return subprocess.run(
        [*EI, *words],
        env=environment(home, **(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Program:
    """A process whose output is read line by line."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            words,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self.process.pid
        self.seen: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, text: str) -> str:
        """The next line with `text` in it."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}: {''.join(self.seen)}")

    def said(self) -> list[str]:
        """Every line until now."""
        with contextlib.suppress(queue.Empty):
            while (line := self._lines.get_nowait()) is not None:
                self.seen.append(line)
        return self.seen

    def end(self, number: int) -> int:
        """Send it a signal and wait for its end; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status


@contextlib.contextmanager
def program(words: Sequence[str], env: Mapping[str, str]) -> Iterator[Program]:
    """A `Program` that ends with the block."""
    running = Program(words, env)
    try:
        yield running
    finally:
        try:
            running.end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            running.end(signal.SIGKILL)


@contextlib.contextmanager
def up(home: Path, *words: str, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """`ei up`, ready. What it leaves is ended with the block."""
    settings = environment(home, EI_HEALTH_INTERVAL="200ms", **(env or {}))
    try:
        with program([*EI, "up", *words], settings) as running:
            running.wait_for("Ready")
            yield running
    finally:
        for pid in accelerator_pids(home / "pool").values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def spare_port() -> int:
    """A free port on 127.0.0.1 that the system gives to nobody of its own accord."""
    for port in random.sample(range(20000, 30000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are taken")


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process that runs meanwhile lead to."""
    targets = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # It may be closed by now.
        with contextlib.suppress(FileNotFoundError):
            targets.append(str(descriptor.readlink()))
    return targets


def accelerator_pids(state: Path) -> dict[str, int]:
    """The process of each accelerator that runs in a state directory, by accelerator id."""
    pids = {}
    for config in state.glob("run/*/config.json"):
        with contextlib.suppress(OSError, UnavailableError):
            accelerator_id = json.loads(config.read_text())["accelerator_id"]
            control = ControlConnection.open(
                config.with_name("handover.sock"), accelerator_id, PATIENCE
            )
            pids[accelerator_id] = control.pid
            control.close()
    return pids


@contextlib.contextmanager
def held(pid: int) -> Iterator[int]:
    """A descriptor of a process, taken while it runs; see `gone`."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def gone(pidfd: int) -> bool:
    """Whether the process ends, within much more time than it needs."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(PATIENCE * 1000))
