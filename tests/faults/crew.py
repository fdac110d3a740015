"""A running pool with its instances and workers, each a process that may be hurt."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic_inference.control.client import ControlClient
from elastic_inference.control.pointer import Pointer
from tests.faults import proc
from tests.faults.scoreboard import Score, Scoreboard
from tests.faults.worker import Task
from tests.pools import EI, Program, environment

ROOT = Path(__file__).parents[2]
# A request ends before this, whatever happens: its wait, its recovery and a loaded machine.
BOUND = 90.0
LEASE = 6.0
HANG = 4.0
SETTINGS = {
    "EI_HEALTH_INTERVAL": "300ms",
    "EI_HANG_TIMEOUT": f"{HANG}s",
    "EI_INSTANCE_LEASE": f"{LEASE}s",
    "EI_LEASE_GRACE": "1s",
    "EI_RECEIVE_TIMEOUT": "3s",
    "EI_SEND_TIMEOUT": "3s",
    "EI_HANDSHAKE_TIMEOUT": "3s",
    "EI_HELLO_TIMEOUT": "3s",
    "EI_DRAIN_TIMEOUT": "5s",
    "EI_TOKEN_LIFETIME": "20s",
    "EI_MAX_CONNECTIONS": "40",
    "EI_MAX_PENDING": "40",
    "EI_MAX_STORE": "48MiB",
    "EI_NODE_MEMORY": "64GiB",
    "EI_VIRTUAL_TFLOPS": "64",
    "EI_TIMEOUT": "30s",
    "EI_RECOVERY_TIMEOUT": "30s",
    "EI_CONTROL_GRACE": "120s",
}


def until(what: str, condition: Callable[[], bool], patience: float = BOUND) -> None:
    """Look again and again until `condition` holds.

    Raises:
        TimeoutError: it does not in time.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


@dataclass(slots=True)
class Member:
    """A worker, which may have died and come back."""

    name: str
    group: str
    task: Task
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    board: Scoreboard = field(init=False)

    def __post_init__(self) -> None:
        self.board = Scoreboard(Path(self.task.board))

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def score(self) -> Score:
        return self.board.read()


@dataclass(slots=True)
class Group:
    """An instance: its `ei run`, what that runs, and the accelerator."""

    name: str
    program: Program
    accelerator: str = ""
    env: dict[str, str] = field(default_factory=dict)


class Crew:
    """Everything that runs, in a folder of its own.

    Args:
        folder: empty, with a short path; all that the crew makes lies in it.
        seed: of what the workers ask.
    """

    def __init__(self, folder: Path, seed: int, **settings: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.temporary = folder / "tmp"
        self.logs = folder / "logs"
        self.seed = seed
        self.members: dict[str, Member] = {}
        self.groups: dict[str, Group] = {}
        self._settings = SETTINGS | settings
        self._numbers = 0
        self._alone: set[str] = set()
        for each in (self.temporary, self.logs, folder / "boards"):
            each.mkdir()
        self.pool = self._start_pool()

    # -- the pool --------------------------------------------------------------------------

    def environment(self, home: Path | None = None, **more: str) -> dict[str, str]:
        """That of a user of this pool, or of one who has none in `home`."""
        own = {
            "TMPDIR": str(self.temporary),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "PYTHONUNBUFFERED": "1",
            "ORT_DISABLE_TELEMETRY": "1",
        }
        return environment(home or self.home, **(self._settings | own | more))

    def _start_pool(self) -> Program:
        pool = Program([*EI, "up"], self.environment())
        pool.wait_for("Ready")
        return pool

    def start_pool_again(self) -> None:
        """After the end of `ei up`: the next one on the same state."""
        self.pool.end(signal.SIGKILL)
        self.pool = self._start_pool()

    def call(self, operation: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the control plane."""
        pointer = Pointer.load(self.home)
        assert pointer is not None
        return ControlClient(pointer, BOUND).call(operation, document or {})

    # -- instances -------------------------------------------------------------------------

    def add_instance(self, name: str) -> Group:
        """An instance whose environment workers take over."""
        path = self.folder / f"{name}.env"
        path.unlink(missing_ok=True)
        words = [sys.executable, "-m", "tests.faults.holder", str(path)]
        group = Group(name, self._run(name, words, self.environment()))
        group.program.wait_for("ready")
        group.env = json.loads(path.read_text())
        group.accelerator = self._accelerator_of(name)
        self.groups[name] = group
        return group

    def add_application(self, name: str, *, alone: bool = False, **settings: str) -> Member:
        """An application under an `ei run` of its own; `alone`: without the pool."""
        env = self.environment(self.folder / "alone" if alone else None, **settings)
        member = self._member(name, name, "session", env, {})
        self._alone |= {name} if alone else set()
        self.start_application(member, alone=alone)
        return member

    def is_alone(self, name: str) -> bool:
        """Whether an instance has a pool of its own."""
        return name in self._alone

    def start_application(self, member: Member, *, alone: bool) -> None:
        """Start it, or start it again."""
        words = [sys.executable, "-m", "tests.faults.worker", member.task.to_json()]
        before, begun = set(self.accelerators()), member.score.begun
        program = self._run(member.name, words, member.env)
        group = Group(member.name, program)
        self.groups[member.name] = group
        until(f"{member.name} to begin", lambda: member.score.begun > begun)
        if alone:
            # Its accelerator is in nobody else's list.
            (group.accelerator,) = set(self.accelerators()) - before
        else:
            group.accelerator = self._accelerator_of(member.name)

    def _run(self, name: str, words: list[str], env: Mapping[str, str]) -> Program:
        run = [*EI, "run", "--quiet", "--name", name, "--accelerator", "eia1.medium", "--", *words]
        return Program(run, env)

    def _accelerator_of(self, name: str) -> str:
        for each in self.call("DescribeInstances")["instances"]:
            if each["name"] == name and each["state"] == "running":
                return str(each["acceleratorIds"][0])
        raise AssertionError(f"no instance {name} runs")

    def remove_instance(self, name: str, number: int = signal.SIGTERM) -> None:
        """End an `ei run`."""
        self.groups.pop(name).program.end(number)

    # -- workers ---------------------------------------------------------------------------

    def add_worker(self, name: str, group: str, kind: str, **settings: Any) -> Member:
        """Start a worker of `kind` on the accelerator of `group`."""
        instance = self.groups[group]
        pause = settings.pop("pause", 0.03)
        upper = {key: settings.pop(key) for key in list(settings) if key.isupper()}
        words = {"accelerator": instance.accelerator, **settings}
        member = self._member(name, group, kind, instance.env | upper, words, pause)
        self.start_worker(member)
        return member

    def _member(
        self,
        name: str,
        group: str,
        kind: str,
        env: dict[str, str],
        settings: dict[str, Any],
        pause: float = 0.03,
    ) -> Member:
        self._numbers += 1
        board = str(self.folder / "boards" / name)
        task = Task(
            kind=kind, name=name, number=self._numbers, board=board, pause=pause,
            seed=self.seed, settings=settings,
        )  # fmt: skip
        member = Member(name, group, task, env)
        self.members[name] = member
        return member

    def start_worker(self, member: Member) -> None:
        """Start it, or start it again."""
        with (self.logs / f"{member.name}.log").open("ab") as log:
            member.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.worker", member.task.to_json()],
                env=member.env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def worker_pid(self, name: str) -> int:
        """The process of a worker, whoever started it; 0 if it does not run."""
        process = self.members[name].process
        if process is not None:
            return process.pid if process.poll() is None else 0
        run = self.groups[name].program.pid
        for pid, words in proc.of_folder(self.folder).items():
            if " -m tests.faults.worker " in words and proc.parent_of(pid) == run:
                return pid
        return 0

    def end_worker(self, name: str, number: int = signal.SIGTERM) -> int:
        """End a worker; its exit status."""
        member = self.members[name]
        assert member.process is not None
        if member.process.poll() is None:
            member.process.send_signal(number)
        return member.process.wait(BOUND)

    # -- accelerators ----------------------------------------------------------------------

    def accelerators(self) -> dict[str, int]:
        """The accelerator processes that run, pool's and others', by id."""
        found = {}
        for pid, words in proc.of_folder(self.folder).items():
            config = words.split(" ")[4] if " -m elastic_inference.accelerator " in words else ""
            with contextlib.suppress(OSError, ValueError):
                if config:
                    found[json.loads(Path(config).read_text())["accelerator_id"]] = pid
        return found

    def accelerator_pid(self, group: str) -> int:
        """The process of a group's accelerator; 0 while there is none."""
        return self.accelerators().get(self.groups[group].accelerator, 0)

    # -- the end ---------------------------------------------------------------------------

    def close(self) -> None:
        """End everything as users end it."""
        for member in self.members.values():
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)
        for member in self.members.values():
            if member.process is not None:
                member.process.wait(BOUND)
            member.board.close()
        for group in self.groups.values():
            group.program.end(signal.SIGTERM)
        self.pool.end(signal.SIGTERM)

    def kill(self) -> None:
        """End whatever still runs, at once."""
        for pid in proc.of_folder(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for member in self.members.values():
            if member.process is not None:
                member.process.wait(BOUND)
        for program in (self.pool, *(group.program for group in self.groups.values())):
            program.end(signal.SIGKILL)


@contextlib.contextmanager
def running(folder: Path, seed: int, **settings: str) -> Iterator[Crew]:
    """A `Crew` of which no process stays, whatever happens."""
    crew = Crew(folder, seed, **settings)
    try:
        yield crew
    finally:
        crew.kill()
