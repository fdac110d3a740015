"""Load, unload and infer for long: nothing may grow, and no answer be another's.

    SOAK_SECONDS=3600 make soak

Several clients over TLS, shared memory, plain HTTP and gRPC keep their models while others load
models, use them once and drop them. What the processes hold is printed now and then; at the end
it may not be more than after the warm-up.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

from tests.faults.crew import Crew, running, until
from tests.faults.leftovers import MIB, Leftovers, remains
from tests.faults.proc import Held
from tests.faults.scoreboard import Score

_WARM_UP = 0.25
_PRINTED = 20
# After the warm-up, for as long as it takes: what allocators and caches come to hold. What
# grows with the requests passes it sooner or later, the sooner the longer the soak.
_GROWTH = {"descriptors": 6, "threads": 4, "regions": 3, "anonymous": 48 * MIB}
# How much slower than after the warm-up answers may come at the end: other programs take
# processors too, so this is no measurement, only a sign of something that piles up.
_SLOWER = 20.0


@dataclass(slots=True)
class Soak:
    """A crew at work, and what it held when it was warm."""

    crew: Crew
    leftovers: Leftovers
    warm: dict[str, Held]
    latencies: dict[str, int]

    @classmethod
    def of(cls, crew: Crew) -> Soak:
        return cls(crew, Leftovers(crew), {}, {})

    def work(self, seconds: float) -> None:
        """Let them work for so long, and print what they hold."""
        begin = time.monotonic()
        for number in range(_PRINTED + 1):
            at = seconds * number / _PRINTED
            time.sleep(max(0.0, begin + at - time.monotonic()))
            if not self.warm and at >= seconds * _WARM_UP:
                self.warm = self.leftovers.held()
                self.latencies = {name: score.latency for name, score in self.scores().items()}
            self._show(time.monotonic() - begin)

    def scores(self) -> dict[str, Score]:
        return {name: member.score for name, member in self.crew.members.items()}

    def faults(self) -> list[str]:
        """What is wrong with what was seen."""
        found = []
        for name, score in self.scores().items():
            if score.wrong or score.clear or score.unclear:
                found.append(f"{name}: {score.wrong} wrong, {score.clear + score.unclear} failed")
            warm = self.latencies.get(name, 0)
            if warm and score.latency > _SLOWER * warm:
                found.append(f"{name}: {warm / 1e6:.1f} ms became {score.latency / 1e6:.1f} ms")
        for role, now in self.leftovers.held().items():
            then = self.warm.get(role)
            for each in fields(Held) if then else ():
                more = getattr(now, each.name) - getattr(then, each.name)
                if more > _GROWTH[each.name]:
                    found.append(f"{role}: {more} {each.name} more than when it was warm")
        return found

    def _show(self, at: float) -> None:
        scores = self.scores()
        total = sum(score.right for score in scores.values())
        bad = sum(score.ended - score.right for score in scores.values())
        held = self.leftovers.held()
        both = [held[role] for role in held if role.startswith("accelerator")]
        clients = [held[role] for role in held if role.startswith("worker")]
        latency = sum(score.latency for score in scores.values()) / len(scores) / 1e6
        print(
            f"{at:>7.0f} s{total:>10}{bad:>6}{latency:>9.2f} ms"
            f"{sum(each.anonymous for each in both) / MIB:>8.0f} MiB"
            f"{sum(each.descriptors for each in both):>6}{sum(each.threads for each in both):>6}"
            f"{sum(each.anonymous for each in clients) / MIB:>8.0f} MiB"
            f"{sum(each.descriptors for each in clients):>6}"
            f"{held['up'].anonymous / MIB:>6.0f} MiB{self._files():>8}",
            flush=True,
        )

    def _files(self) -> int:
        return sum(len(files) for _, _, files in os.walk(self.crew.home))


def set_up(crew: Crew) -> None:
    """Two accelerators, each with clients of every kind."""
    for group in ("a", "b"):
        crew.add_instance(group)
        crew.add_worker(f"{group}-tls", group, "client", EI_TRANSPORT="tls", pause=0.01)
        crew.add_worker(f"{group}-shm", group, "client", EI_TRANSPORT="auto", pause=0.01)
        crew.add_worker(f"{group}-wire", group, "wire", pause=0.01)
        crew.add_worker(f"{group}-grpc", group, "grpc", pause=0.01)
        crew.add_worker(f"{group}-churn", group, "churn", EI_TRANSPORT="auto", pause=0.01)
    crew.add_worker("a-churn-tls", "a", "churn", EI_TRANSPORT="tls", pause=0.01, fresh=7)


def run(seconds: float, seed: int = 1) -> list[str]:
    """Soak for so many seconds; what was wrong."""
    with tempfile.TemporaryDirectory(prefix="ei-soak-", dir="/tmp") as name:
        folder = Path(name)
        with running(folder, seed) as crew:
            set_up(crew)
            for member in crew.members.values():
                until(f"{member.name} to begin", lambda m=member: m.score.right >= 4)  # type: ignore[misc]  # bound now
            print(
                f"{'':>9}{'right':>10}{'bad':>6}{'latency':>12}{'accelerators':>24}{'clients':>18}"
                f"{'pool':>10}{'files':>8}"
            )
            soak = Soak.of(crew)
            soak.work(seconds)
            found = soak.faults()
            crew.close()
            return found + [f"left over: {each}" for each in remains(folder)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    parser.add_argument("--seconds", type=float, default=seconds)
    found = run(parser.parse_args().seconds)
    print(*(found or ["nothing wrong, nothing grew, nothing left over"]), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
