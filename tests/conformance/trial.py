"""One case, run here and on an accelerator in every way, and what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx.backend.test.runner import Runner
from tritonclient.utils import InferenceServerException

from elastic_inference.errors import ElasticInferenceError, ModelFormatError
from tests.conformance import triton, values
from tests.conformance.backend import CpuBackend, LocalBackend, Remote
from tests.conformance.cases import Case

# So often a model is run in its first way: the client prepares a request at the first run and
# the accelerator remembers it, so that later runs go other paths.
_RUNS = 3

CLIENT_WAYS = ("client", "JSON")
"""The ways that are the project's own interfaces, not ONNX Runtime's."""

SAME, REFUSED, BEYOND, RANDOM, DIFFERS = "same", "refused", "beyond", "random", "differs"
"""Verdicts: equal in every bit; refused as ONNX Runtime does; done though ONNX Runtime's Python
interface cannot; drawn at random, so that only types and shapes are equal; a difference."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of loading and running a case.

    Attributes:
        stage: where it failed: `load`, `run`, or "" if it did not.
        error: why.
        results: outputs by run and data set; of the first way, all runs.
    """

    stage: str
    error: BaseException | None = None
    results: tuple[list[Any], ...] = ()


@dataclass(slots=True)
class Trial:
    """A case's outcome.

    Attributes:
        local: `passes`, `misses` the expected values, or cannot `load` or `run`.
        cause: why it does not pass here.
        verdicts: by way.
        passing: the ways whose results are what the case expects, within its tolerance.
        differences: what is to be explained, as text.
    """

    name: str
    kind: str
    family: str
    local: str = ""
    cause: str = ""
    verdicts: dict[str, str] = field(default_factory=dict)
    passing: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def passes(self) -> bool:
        """Whether every way that gave a result gave what the case expects."""
        refused = (way for way, verdict in self.verdicts.items() if verdict == REFUSED)
        return bool(self.passing) and {*self.passing, *refused} >= self.verdicts.keys()


def judge(case: Case, remote: Sequence[Remote], options: Mapping[str, Any]) -> Trial:
    """Run `case` here and by each of the `remote` backends, and compare.

    Args:
        options: of the load, for all of them.
    """
    trial = Trial(case.name, case.kind, case.family)
    here = attempts(LocalBackend, case, options)
    base = here["session"]
    trial.local, trial.cause = _standing(case, base)
    for each in remote:
        for way, there in attempts(each.backend, case, options).items():
            expected = here.get(way, base)
            _compare(trial, case, f"{each.label}{way}", expected, there, options)
            if trial.local == there.stage == "load" and way == CLIENT_WAYS[0]:
                # In the words of the project, which name the cause first.
                trial.cause = str(there.error)
    return trial


def attempts(
    backend: type[CpuBackend], case: Case, options: Mapping[str, Any]
) -> dict[str, Attempt]:
    """Each way's outcome; if the case does not load, that of the one way there is."""
    try:
        prepared = backend.load(case.model, **options)
    except Exception as error:  # noqa: BLE001 - what is raised is the outcome
        return {backend.first_way: Attempt("load", error)}
    try:
        return {
            way: _run(run, case, 1 if index else _RUNS)
            for index, (way, run) in enumerate(prepared.ways.items())
        }
    finally:
        prepared.close()


def _run(run: Any, case: Case, count: int) -> Attempt:
    results = []
    try:
        for inputs, _ in itertools.chain.from_iterable([case.data] * count):
            results.append([_kept(value) for value in run(inputs)])
    except Exception as error:  # noqa: BLE001 - as above
        return Attempt("run", error)
    return Attempt("", None, tuple(results))


def _kept(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def meets(case: Case, results: Sequence[list[Any]]) -> str:
    """Nothing if the results are the case's own within its tolerance, else in what they are not."""
    for (_, expected), result in zip(itertools.cycle(case.data), results, strict=False):
        try:
            Runner.assert_similar_outputs(expected, result, rtol=case.rtol, atol=case.atol)
        except (AssertionError, TypeError) as error:
            return " ".join(str(error).split())[:200]
    return ""


def _standing(case: Case, base: Attempt) -> tuple[str, str]:
    if base.stage:
        return base.stage, str(base.error)
    missed = meets(case, base.results)
    return ("misses", missed) if missed else ("passes", "")


def _compare(
    trial: Trial,
    case: Case,
    way: str,
    here: Attempt,
    there: Attempt,
    options: Mapping[str, Any],
) -> None:
    if here.stage and there.stage:
        wrong = _wrong_refusal(here, there, way)
        verdict = DIFFERS if wrong else REFUSED
    elif here.stage:
        wrong, verdict = "", BEYOND
    elif there.stage:
        wrong = f"{type(there.error).__name__}: {there.error}"
        verdict = DIFFERS
    else:
        wrong = _unequal(here, there, as_json=way.endswith("JSON"))
        verdict = DIFFERS if wrong else SAME
        if wrong and _is_random(case, here, there, options):
            wrong, verdict = "", RANDOM
    trial.verdicts[way] = verdict
    if wrong:
        trial.differences.append(f"{case.name} by {way}: {wrong}")
    if not there.stage and not meets(case, there.results):
        trial.passing.append(way)


def _wrong_refusal(here: Attempt, there: Attempt, way: str) -> str:
    """What is not as it should be in a remote error for what fails here too."""
    theirs, ours = here.error, there.error
    if isinstance(theirs, values.NoOrtValueError):
        return ""
    if here.stage != there.stage:
        return f"fails to {there.stage} ({ours!r}) where ONNX Runtime fails to {here.stage}"
    if way.endswith(triton.WAYS):
        good = isinstance(ours, InferenceServerException)
    elif not way.endswith(CLIENT_WAYS):
        good = type(ours).__name__ == type(theirs).__name__
    elif there.stage == "load":
        good = type(ours) is ModelFormatError
    else:
        good = isinstance(ours, ElasticInferenceError)
    return "" if good else f"{ours!r} where ONNX Runtime raises {theirs!r}"


def _unequal(here: Attempt, there: Attempt, *, as_json: bool) -> str:
    view = values.numbers if as_json else values.bits
    for index, (mine, other) in enumerate(zip(here.results, there.results, strict=False)):
        if len(mine) != len(other):
            return f"{len(other)} outputs, not {len(mine)}"
        for place, (one, two) in enumerate(zip(mine, other, strict=True)):
            if view(one) != view(two):
                return f"run {index}, output {place}: {values.show(one)}, not {values.show(two)}"
    return ""


def _is_random(case: Case, here: Attempt, there: Attempt, options: Mapping[str, Any]) -> bool:
    """Whether ONNX Runtime's own results vary from run to run or from session to session, in no
    other way than these.
    """
    again = attempts(LocalBackend, case, options)["session"]
    rounds = [
        [values.bits(result) for result in here.results[index : index + len(case.data)]]
        for index in range(0, len(here.results), len(case.data))
    ]
    steady = not again.stage and not _unequal(here, again, as_json=False)
    if steady and all(each == rounds[0] for each in rounds):
        return False
    return all(
        values.shapes(mine) == values.shapes(other)
        for mine, other in zip(here.results, there.results, strict=False)
    )
