"""Hurt a running pool in every way, and see that nothing is lost, mixed up or left over.

    FAULTS_SEED=7 make faults

A pool with several accelerators and clients, all processes of their own, works on while one
fault follows the other in an order that the seed decides. After each, every worker must get
right answers again from all of its models, nobody's request may have failed but of those whom
the fault hits, and every process must hold no more than before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import cuts, fills, kills, slows, stops
from tests.faults.crew import BOUND, Crew, running, until
from tests.faults.fault import Fault, Scene, UnfitError
from tests.faults.leftovers import Leftovers, remains
from tests.faults.scoreboard import Score

FAULTS = [*kills.FAULTS, *stops.FAULTS, *cuts.FAULTS, *slows.FAULTS, *fills.FAULTS]
# What is given back later than this many seconds is told.
_LONG = 5.0
_STORE_DISK = 160 << 20


@dataclass(slots=True)
class Row:
    """What came of one kind of fault."""

    fault: Fault
    injected: int = 0
    right: int = 0
    clear: int = 0
    wrong: int = 0
    lost: int = 0
    leftovers: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        return bool(self.wrong or self.lost or self.leftovers)


class Chaos:
    """One run of faults against one crew."""

    def __init__(self, crew: Crew, seed: int, *, quick: bool) -> None:
        self._crew = crew
        self._scene = Scene(crew, random.Random(seed), quick)  # noqa: S311 - repeatable
        self._leftovers = Leftovers(crew)
        self.rows: list[Row] = []

    def begin(self) -> None:
        """Wait until all work, and note what they hold."""
        self._settle({})
        self._leftovers.note()

    def inject(self, fault: Fault) -> Row:
        """Do one fault and judge what came of it."""
        row = Row(fault)
        self.rows.append(row)
        began = time.monotonic()
        before = self._scores()
        self._guarded(row, lambda: fault.act(self._scene))
        if row.injected:
            self._guarded(row, lambda: self._settle(self._scores()))
            self._count(row, before, self._scores())
            at_first, begin = self._leftovers.excess(), time.monotonic()
            over = self._leftovers.settled()
            row.leftovers = len(over)
            if (took := time.monotonic() - begin) > _LONG:
                row.notes.append(f"given back after {took:.0f} s: {', '.join(at_first)}")
            row.notes += [f"left over: {each}" for each in over]
            self._leftovers.note()
        row.seconds = time.monotonic() - began
        return row

    def _guarded(self, row: Row, act: object) -> None:
        assert callable(act)
        try:
            act()
            row.injected = 1
        except UnfitError as error:
            row.notes.append(f"left out: {error}")
        except Exception as error:  # noqa: BLE001 - whatever fails is what this looks for
            row.injected = 1
            row.lost += 1
            row.notes.append(f"{type(error).__name__}: {error}")

    def _scores(self) -> dict[str, Score]:
        return {name: member.score for name, member in self._crew.members.items()}

    def _settle(self, since: dict[str, Score]) -> None:
        """Wait until every worker got right answers from each of its models."""
        for name, member in self._crew.members.items():
            wanted = since.get(name, Score()).right + 2 * member.task.models
            until(f"{name} got no right answers", lambda m=member, w=wanted: m.score.right >= w)  # type: ignore[misc]  # bound now

    def _count(self, row: Row, before: dict[str, Score], after: dict[str, Score]) -> None:
        for name, now in after.items():
            then = before.get(name, Score())
            row.right += now.right - then.right
            row.wrong += now.wrong - then.wrong
            clear, unclear = now.clear - then.clear, now.unclear - then.unclear
            row.clear += clear
            if unclear:
                row.lost += unclear
                row.notes.append(f"{name}: {unclear} ended without a clear error")
            if clear and name not in row.fault.hits:
                row.lost += clear
                row.notes.append(f"{name}: {clear} failed, though the fault was not theirs")
            open_ = now.begun - now.ended - self._crew.members[name].deaths
            if open_ > 1:
                row.lost += open_ - 1
                row.notes.append(f"{name}: {open_ - 1} never ended")
            if now.slowest > BOUND * 1e9:
                row.lost += 1
                row.notes.append(f"{name}: one took {now.slowest / 1e9:.0f} s")


def set_up(crew: Crew, *, quick: bool) -> None:
    """The instances and workers; `a` is who is hurt, `b` is beside it."""
    crew.add_instance("a")
    crew.add_worker("a-tls", "a", "client", EI_TRANSPORT="tls")
    crew.add_worker("a-shm", "a", "client", EI_TRANSPORT="shm")
    crew.add_worker("a-wire", "a", "wire")
    crew.add_worker("a-grpc", "a", "grpc")
    crew.add_worker("a-churn", "a", "churn", EI_TRANSPORT="tls")
    crew.add_instance("b")
    crew.add_worker("b-tls", "b", "client", EI_TRANSPORT="tls")
    crew.add_application("c")
    if not quick:
        crew.add_worker("b-shm", "b", "client", EI_TRANSPORT="auto")
        crew.add_worker("b-wire", "b", "wire")
        crew.add_worker("b-grpc", "b", "grpc")
        crew.add_application("d", alone=True)
        crew.add_instance("e")
        crew.add_worker("e-tls", "e", "client", EI_TRANSPORT="tls")


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A small file system at `path`, where that can be had."""
    path.mkdir(parents=True, mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", f"size={_STORE_DISK},mode=700", "none", str(path)]
    mounted = (
        os.geteuid() == 0 and not subprocess.run(words, check=False, capture_output=True).returncode
    )
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


def run(faults: Sequence[Fault], seed: int, *, quick: bool = False) -> list[Row]:
    """Inject `faults`, in the order of the seed; a row for each, and one for the end."""
    with tempfile.TemporaryDirectory(prefix="ei-faults-", dir="/tmp") as name:
        folder = Path(name)
        with small_disk(folder / "home" / "accounts"):
            (folder / "home").chmod(0o700)
            with running(folder, seed) as crew:
                set_up(crew, quick=quick)
                chaos = Chaos(crew, seed, quick=quick)
                chaos.begin()
                order = list(faults)
                random.Random(seed).shuffle(order)  # noqa: S311 - repeatable
                for fault in order:
                    row = chaos.inject(fault)
                    show(row)
                    if row.bad:
                        _tell_logs(crew)
                chaos.rows.append(_end(crew))
                show(chaos.rows[-1])
                return chaos.rows


def _end(crew: Crew) -> Row:
    """Everything ends as its users end it; nothing may be left."""
    row = Row(Fault("end", "everything ends", lambda _: None), injected=1)
    crew.close()
    for folder in crew.temporary.glob("ei-run-*"):
        # Of those that were killed; a later run takes them away once they are not young.
        os.utime(folder, (1, 1))
    words = [sys.executable, "-m", "elastic_inference.cli", "run", "--quiet", "--accelerator"]
    subprocess.run([*words, "eia1.medium", "--", "true"], env=crew.environment(), check=True)
    left: list[str] = []

    def nothing() -> bool:
        left[:] = remains(crew.folder)
        return not left

    with contextlib.suppress(TimeoutError):
        until("nothing left over", nothing, 30.0)
    row.leftovers = len(left)
    row.notes += [f"left over: {each}" for each in left]
    return row


def _tell_logs(crew: Crew) -> None:
    for path in sorted(crew.logs.iterdir()):
        lines = path.read_text().splitlines()[-3:]
        if lines:
            print(*(f"    {path.stem}: {line[:200]}" for line in lines), sep="\n")
    for name, program in (("up", crew.pool), *((n, g.program) for n, g in crew.groups.items())):
        for line in program.said()[-6:]:
            print(f"    {name}: {line.strip()[:200]}")


def show(row: Row) -> None:
    """One line of the table, and what is to be told of it."""
    name = f"{row.fault.kind}: {row.fault.name}"
    print(
        f"{name:<52}{row.injected:>4}{row.right:>8}{row.clear:>7}{row.wrong:>7}"
        f"{row.lost:>6}{row.leftovers:>6}{row.seconds:>7.1f} s",
        *(f"    {note[:300]}" for note in row.notes),
        sep="\n",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("FAULTS_SEED", "0")))
    parser.add_argument("--only", default="", help="faults whose name contains this")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = options.seed or int(time.time())
    faults = [each for each in FAULTS if options.only in f"{each.kind}: {each.name}"]
    print(f"FAULTS_SEED={seed}")
    print(f"{'fault':<52}{'n':>4}{'right':>8}{'clear':>7}{'wrong':>7}{'lost':>6}{'left':>6}")
    began = time.monotonic()
    rows = run(faults, seed)
    bad = sum(row.bad for row in rows)
    verdict = f"{bad} of {len(rows)} rows bad" if bad else "nothing wrong, lost or left over"
    right = sum(row.right for row in rows)
    print(f"{right} right answers in {time.monotonic() - began:.0f} s; {verdict}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
