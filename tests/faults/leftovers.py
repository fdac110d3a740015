"""What a pool holds when nothing is wrong, and what is too much after a fault."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from dataclasses import fields
from pathlib import Path

from tests.faults import proc
from tests.faults.crew import Crew
from tests.faults.proc import Held

MIB = 1 << 20
# What may differ between two moments at which nothing is wrong: a connection more, with its
# thread, and what allocators keep. A leak grows with the faults and passes it.
SLACK = {"descriptors": 5, "threads": 4, "regions": 2, "anonymous": 64 * MIB}
PATIENCE = 40.0


class Leftovers:
    """Compares what is held with what was held at first."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._first: dict[str, Held] = {}

    def note(self) -> None:
        """Nothing is wrong now: remember it. What was remembered before stays."""
        for role, pid in self._roles().items():
            with contextlib.suppress(OSError):
                self._first.setdefault(role, proc.held_by(pid))

    def held(self) -> dict[str, Held]:
        """What each process holds, by its role."""
        found = {}
        for role, pid in self._roles().items():
            with contextlib.suppress(OSError):
                found[role] = proc.held_by(pid)
        return found

    def settled(self) -> list[str]:
        """Wait until nothing is too much; what still is, after all."""
        deadline = time.monotonic() + PATIENCE
        while (excess := self.excess()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return excess

    def excess(self) -> list[str]:
        """What is too much now."""
        return [*self._strays(), *self._grown(), *self._rows(), *self._files()]

    def _roles(self) -> dict[str, int]:
        crew = self._crew
        roles = {"up": crew.pool.pid}
        accelerators = crew.accelerators()
        for name, group in crew.groups.items():
            roles[f"run {name}"] = group.program.pid
            if group.accelerator in accelerators:
                roles[f"accelerator {name}"] = accelerators[group.accelerator]
        for name in crew.members:
            pid = crew.worker_pid(name)
            if pid:
                roles[f"worker {name}"] = pid
        return roles

    def _strays(self) -> list[str]:
        known = set(self._roles().values())
        return [
            f"process {pid} ({words[:120]})"
            for pid, words in proc.of_folder(self._crew.folder).items()
            if pid not in known and proc.parent_of(pid) not in known
        ]

    def _grown(self) -> list[str]:
        grown = []
        for role, now in self.held().items():
            first = self._first.get(role)
            if first is None:
                continue
            for each in fields(Held):
                more = getattr(now, each.name) - getattr(first, each.name)
                if more > SLACK[each.name]:
                    grown.append(f"{role}: {more} {each.name} more")
        return grown

    def _rows(self) -> list[str]:
        path = self._crew.home / "pool" / "pool.sqlite"
        wanted = {
            group.accelerator
            for group in self._crew.groups.values()
            if not self._crew.is_alone(group.name)
        }
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = {row[0] for row in database.execute("SELECT id FROM accelerators")}
            keys = database.execute(
                "SELECT count(DISTINCT instance_id) FROM access_keys"
            ).fetchone()[0]
        folders = list((self._crew.home / "pool" / "run").iterdir())
        found = [f"row of accelerator {each}" for each in rows - wanted]
        if keys > len(wanted):
            found.append(f"access keys of {keys - len(wanted)} instances")
        if len(folders) > len(wanted):
            found.append(f"{len(folders) - len(wanted)} accelerators' folders")
        return found

    def _files(self) -> list[str]:
        crew = self._crew
        alive = [
            folder for folder in crew.temporary.glob("ei-run-*") if is_locked(folder / "owner")
        ]
        found = []
        if len(alive) > len(crew.groups):
            found.append(f"{len(alive) - len(crew.groups)} folders of `ei run`")
        others = [each for each in crew.temporary.iterdir() if not each.name.startswith("ei-run-")]
        if others:
            found.append(f"temporary files {[each.name for each in others][:3]}")
        return found


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file; False where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remains(folder: Path) -> list[str]:
    """What is left of a crew whose parts all ended."""
    left = [f"process {pid} ({words[:120]})" for pid, words in proc.of_folder(folder).items()]
    left += [f"folder {path.name}" for path in (folder / "home" / "pool" / "run").glob("*")]
    left += [f"{path.name} in TMPDIR" for path in (folder / "tmp").iterdir()]
    left += [path.name for path in (folder / "home").glob("current.json")]
    for account in (folder / "home" / "accounts").iterdir():
        for name in ("reserved", "partial"):
            left += [
                f"lock on {name}/{path.name[:12]}"
                for path in (account / name).glob("*")
                if is_locked(path)
            ]
    return left
