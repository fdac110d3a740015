"""The whole run: every case by every way, then models of the future, then other options."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import onnx

from elastic_inference.client import Accelerator, connect
from elastic_inference.settings import ClientSettings, from_environment
from tests.conformance.backend import Remote, client_backend, session_backend
from tests.conformance.cases import Case
from tests.conformance.trial import Trial, judge
from tests.conformance.triton import clients

# One thread everywhere: sums are added up in the same order, so every bit is to be the same.
BASE = {"threads": 1}
_MEMORY_LEFT = 64 << 20
_IR_VERSION = re.compile(r"has IR version \d+; the engine reads them up to (\d+)")
_OPSET = re.compile(r"uses operator set \d+ of ")


@dataclass(slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        trials: of every case as it is.
        future: of the cases that are newer than the engine, made to look as old as it takes.
        options: of every case with other options of the load, by these.
        engine: what the accelerator says of its engine.
        memory: bytes in use before the first load, at the peak and after the last.
        faults: what went wrong apart from the cases.
    """

    trials: list[Trial] = field(default_factory=list)
    future: list[Trial] = field(default_factory=list)
    options: dict[str, list[Trial]] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    memory: tuple[int, int, int] = (0, 0, 0)
    faults: list[str] = field(default_factory=list)

    def all(self) -> Iterator[Trial]:
        yield from self.trials
        yield from self.future
        for trials in self.options.values():
            yield from trials

    @property
    def differences(self) -> list[str]:
        return [text for trial in self.all() for text in trial.differences]

    @property
    def good(self) -> bool:
        """Nothing differs, nothing that passes here fails there, and nothing went wrong."""
        failing = any(trial.local == "passes" and not trial.passes for trial in self.all())
        return not failing and not self.differences and not self.faults


def run(chosen: Sequence[Case], tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Run the cases on this process's accelerator, by its two transports.

    Args:
        tell: hears of each part when it begins.
    """
    outcome = Outcome()
    with ExitStack() as stack:
        shared = stack.enter_context(_attach("auto"))
        remote = stack.enter_context(_attach("tls"))
        before = shared.info()
        outcome.engine = before["engine"]
        ways = [
            Remote("", client_backend(shared, json=True)),
            Remote("TLS ", client_backend(remote, others=stack.enter_context(clients()))),
            Remote("", session_backend(shared)),
        ]
        tell(f"{len(chosen)} cases, each by every way in")
        outcome.trials = [judge(case, ways, BASE) for case in chosen]
        tell("Those that are too new, made older")
        outcome.future = list(_future(chosen, outcome, ways))
        plain = [Remote("", client_backend(shared))]
        for options in _other_options(before["threads"]):
            name = ", ".join(f"{key} {value}" for key, value in options.items())
            tell(f"All of them with {name}")
            outcome.options[name] = [judge(case, plain, options) for case in chosen]
        after = shared.info()
        outcome.memory = tuple(
            info["memory"][key]
            for info, key in ((before, "used"), (after, "peak"), (after, "used"))
        )
        outcome.faults = _faults(before, after)
    return outcome


def sample(every: Iterable[Case], count: int) -> list[Case]:
    """Up to `count` cases of each kind and family, evenly spread, and one large network."""
    groups: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in every:
        groups[case.kind, case.family].append(case)
    chosen = []
    for (kind, _), members in groups.items():
        wanted = 1 if kind == "model" else min(count, len(members))
        chosen += [members[index * len(members) // wanted] for index in range(wanted)]
    return chosen


def _attach(transport: str) -> Accelerator:
    return connect(settings=replace(from_environment(ClientSettings), transport=transport))


def _future(chosen: Sequence[Case], outcome: Outcome, ways: Sequence[Remote]) -> Iterator[Trial]:
    """The cases that the engine refuses for their age alone, with the IR version and the
    operator sets that it reads.
    """
    newest_ir = [int(found[1]) for t in outcome.trials if (found := _IR_VERSION.search(t.cause))]
    for case, trial in zip(chosen, outcome.trials, strict=True):
        if not (_IR_VERSION.search(trial.cause) or _OPSET.search(trial.cause)):
            continue
        model = onnx.ModelProto.FromString(case.model)
        model.ir_version = min([model.ir_version, *newest_ir])
        for imported in model.opset_import:
            newest = outcome.engine["domains"].get(imported.domain, imported.version)
            imported.version = min(imported.version, newest)
        yield judge(replace(case, model=model.SerializeToString()), ways, BASE)


def _other_options(threads: int) -> list[dict[str, Any]]:
    more = [{"threads": threads}] if threads > 1 else []
    levels = ("basic", "disable")
    return [*more, *({**BASE, "graph_optimization_level": level} for level in levels)]


def _faults(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    faults = []
    if after["boot_id"] != before["boot_id"]:
        faults.append("The accelerator's process ended and another took its place.")
    if after["models"]:
        faults.append(f"{after['models']} models are still loaded.")
    left = after["memory"]["used"] - before["memory"]["used"]
    if left > _MEMORY_LEFT:
        faults.append(f"{left >> 20} MiB are still in use, more than {_MEMORY_LEFT >> 20}.")
    return faults
