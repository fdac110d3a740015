"""What a run found, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version

from benchmarks.report import Table, machine
from tests.conformance import triton
from tests.conformance.cases import FAMILIES, KINDS
from tests.conformance.run import Outcome
from tests.conformance.trial import BEYOND, DIFFERS, RANDOM, REFUSED, SAME, Trial

# Why ONNX Runtime does not load a case: how the accelerator's message begins to say it.
_CAUSES = {
    "has IR version": "it is of a newer IR version than the engine reads",
    "uses operator set": "it is of an operator set that is not released",
    "has no operator": "the engine has no such operator",
    "has no implementation of": "the engine has no kernel for its types or its version",
    "kernel is not supported": "the engine has no kernel for its types or its version",
    "locale": "the machine does not have the locale en_US.UTF-8",
    "are not supported": "the engine does not support an attribute's value",
    "Unrecognized attribute": "the engine does not know an attribute",
    "bound to different types": "the engine's schema refuses its types",
}
_WAYS = {
    "client": "client, shared memory",
    "TLS client": "client, TLS",
    "JSON": "tensors as JSON, Unix socket",
    **{f"TLS {way}": f"{way}, TLS" for way in triton.WAYS},
    "session": "drop-in session",
    "OrtValues": "drop-in session, OrtValues",
    "IOBinding": "drop-in session, IOBinding",
}


def tables(outcome: Outcome) -> list[Table]:
    """Everything that was found."""
    found = [
        _kinds("ONNX's cases by kind and by what goes in and out", outcome.trials),
        _ways(outcome.trials),
        _causes(outcome.trials),
        _kinds(
            "Cases that are too new for the engine, stamped with the IR version and operator sets "
            "that it reads",
            outcome.future,
        ),
        _options(outcome),
        _memory(outcome),
    ]
    if outcome.differences or outcome.faults:
        rows = [[text] for text in (*outcome.faults, *outcome.differences)]
        found.append(Table("What is wrong", ["what"], rows))
    return found


def about(outcome: Outcome) -> dict[str, str]:
    """What the figures are of."""
    return {
        "onnx": version("onnx"),
        "onnxruntime here": version("onnxruntime"),
        "onnxruntime on the accelerator": outcome.engine["version"],
        **{name: str(machine()[name]) for name in ("python", "numpy", "processor")},
    }


def _kinds(title: str, trials: Sequence[Trial]) -> Table:
    rows = []
    for kind in KINDS:
        for family in FAMILIES:
            group = [t for t in trials if t.kind == kind and t.family == family]
            if group:
                rows.append([kind, family, *_counts(group)])
    rows.append(["all", "", *_counts(trials)])
    columns = ["kind", "values", "cases", "ORT loads", "ORT passes", "remote passes", "differing"]
    return Table(title, columns, rows)


def _counts(trials: Sequence[Trial]) -> list[int]:
    return [
        len(trials),
        sum(trial.local != "load" for trial in trials),
        sum(trial.local == "passes" for trial in trials),
        sum(trial.local == "passes" and trial.passes for trial in trials),
        sum(bool(trial.differences) for trial in trials),
    ]


def _ways(trials: Sequence[Trial]) -> Table:
    counts = Counter((way, verdict) for trial in trials for way, verdict in trial.verdicts.items())
    return Table(
        "The same by the way that a model is run",
        ["way", "same bits", "random", "refused", "more than ORT", "differing"],
        [
            [text, *(counts[way, verdict] for verdict in (SAME, RANDOM, REFUSED, BEYOND, DIFFERS))]
            for way, text in _WAYS.items()
        ],
        "*random*: ONNX Runtime's own results vary from run to run; types and shapes are the same. "
        "*refused*: ONNX Runtime fails as well, and the error is of the same kind. "
        "*more than ORT*: its Python interface cannot do it: OrtValues of text and of sequences "
        "cannot be made or read in Python.",
    )


def _causes(trials: Sequence[Trial]) -> Table:
    found: dict[str, list[str]] = {}
    for trial in trials:
        if trial.local != "passes":
            found.setdefault(_cause(trial), []).append(trial.name)
    rows = [
        [cause, len(names), names[0]]
        for cause, names in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
    return Table(
        "What ONNX Runtime itself does not pass, with the same outcome on the accelerator",
        ["cause", "cases", "for example"],
        rows,
    )


def _cause(trial: Trial) -> str:
    if trial.local == "misses":
        return "its results are not within ONNX's tolerance"
    if trial.local == "run":
        return "it fails when it is run"
    for text, cause in _CAUSES.items():
        if text in trial.cause:
            return cause
    return trial.cause


def _options(outcome: Outcome) -> Table:
    rows = [
        [name, *_counts(trials), sum(SAME in t.verdicts.values() for t in trials)]
        for name, trials in outcome.options.items()
    ]
    columns = ["options", "cases", "ORT loads", "ORT passes", "remote passes", "differing"]
    return Table("Other options of the load, by the client", [*columns, "same bits"], rows)


def _memory(outcome: Outcome) -> Table:
    before, peak, after = (f"{size / (1 << 20):.1f} MiB" for size in outcome.memory)
    return Table(
        "The accelerator's memory", ["before", "peak", "after the last"], [[before, peak, after]]
    )
