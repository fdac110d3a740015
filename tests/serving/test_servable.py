from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from elastic_inference.errors import (
    ConflictError,
    DeadlineExceededError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    ModelFormatError,
)
from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.batching import Scheduler
from elastic_inference.serving.batching_parameters import BatchingParameters
from elastic_inference.serving.servable import Entry, SavedModel
from elastic_inference.serving.service import CLASSIFY, PREDICT, REGRESS


class Model:
    """What a signature runs: it answers with what it is given to answer with."""

    def __init__(self, **results: Any) -> None:
        self.results = {key: np.asarray(value) for key, value in results.items()}
        self.calls: list[tuple[Mapping[str, Array], tuple[str, ...]]] = []
        self.is_closed = False

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        self.calls.append((inputs, tuple(outputs)))
        return {name: self.results[name] for name in outputs}

    def close(self) -> None:
        self.is_closed = True


def _signature(
    inputs: Mapping[str, str], outputs: Mapping[str, str], method: str = PREDICT
) -> Signature:
    def tensors(dtypes: Mapping[str, str]) -> dict[str, Tensor]:
        return {key: Tensor(f"{key}:0", dtype, (None,)) for key, dtype in dtypes.items()}

    return Signature(tensors(inputs), tensors(outputs), method, b"")


def _servable(
    entries: Mapping[str, tuple[Signature, Model]],
    errors: Mapping[str, ElasticInferenceError] | None = None,
    **options: Any,
) -> SavedModel:
    made = {
        key: Entry(signature, model.run, model.close) for key, (signature, model) in entries.items()
    }
    signatures = {key: signature for key, (signature, _) in entries.items()}
    return SavedModel(7, signatures, made, errors or {}, **options)


_TWO = _signature({"x": "float32", "words": "string"}, {"y": "float32", "z": "int64"})
_GOOD = {"x": np.ones(1, np.float32), "words": np.asarray([b"a"], object)}


def test_all_outputs_or_those_that_are_asked_for() -> None:
    model = Model(y=[1.0], z=[2])
    servable = _servable({"s": (_TWO, model)})
    assert set(servable.predict("s", _GOOD, (), None)) == {"y", "z"}
    assert set(servable.predict("s", _GOOD, ["z"], None)) == {"z"}
    assert model.calls[-1][1] == ("z",)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        (
            {"x": _GOOD["x"]},
            (
                "input size does not match signature: 1!=2 len({x}) != len({words,x}). "
                "Sent extra: {}. Missing but required: {words}."
            ),
        ),
        (
            {**_GOOD, "more": _GOOD["x"]},
            (
                "input size does not match signature: 3!=2 len({more,words,x}) != len({words,x}). "
                "Sent extra: {more}. Missing but required: {}."
            ),
        ),
        (
            {"x": _GOOD["x"], "other": _GOOD["words"]},
            (
                "input tensor alias not found in signature: other. Inputs expected to be in the "
                "set {words,x}."
            ),
        ),
        (
            {**_GOOD, "x": np.ones(1)},
            "Expects arg[0] to be float but double is provided (input 'x')",
        ),
        (
            {**_GOOD, "words": np.ones(1, np.int32)},
            "Expects arg[1] to be string but int32 is provided (input 'words')",
        ),
    ],
)
def test_inputs_that_do_not_fit(inputs: Mapping[str, Array], why: str) -> None:
    model = Model()
    with pytest.raises(InvalidRequestError) as raised:
        _servable({"s": (_TWO, model)}).predict("s", inputs, (), None)
    assert raised.value.message == why
    assert not model.calls


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        (["none"], "output tensor alias not found in signature: none Outputs expected to be"),
        (["y", "y"], "duplicate output tensor alias: y"),
    ],
)
def test_outputs_that_do_not_fit(outputs: Sequence[str], why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why):
        _servable({"s": (_TWO, Model())}).predict("s", _GOOD, outputs, None)


def test_signatures_that_are_not_there_or_not_loaded() -> None:
    servable = _servable({"s": (_TWO, Model())}, {"bad": ModelFormatError("cannot be converted")})
    with pytest.raises(ConflictError, match='Serving signature key "none" not found'):
        servable.predict("none", _GOOD, (), None)
    with pytest.raises(InvalidRequestError, match="No signature was found with the name: none"):
        servable.classify("none", [b"x"], None)
    seen = []
    for call in (servable.predict, servable.predict):
        with pytest.raises(ModelFormatError, match="cannot be converted") as raised:
            call("bad", _GOOD, (), None)
        seen.append(raised.value)
    with pytest.raises(ModelFormatError, match="cannot be converted"):
        servable.regress("bad", [b"x"], None)
    assert seen[0] is not seen[1]


def test_a_deadline_that_passed() -> None:
    model = Model(y=[1.0], z=[2])
    with pytest.raises(DeadlineExceededError):
        _servable({"s": (_TWO, model)}).predict("s", _GOOD, (), time.monotonic() - 1)
    assert not model.calls


def test_a_close_gives_up_all_signatures() -> None:
    models = [Model(), Model()]
    servable = _servable({str(number): (_TWO, each) for number, each in enumerate(models)})
    servable.close()
    assert [each.is_closed for each in models] == [True, True]


_EXAMPLES = [b"one", b"two"]
_CLASSES = [[b"cat", b"dog"], [b"dog", "ü".encode()]]
_SCORES = np.asarray([[0.75, 0.25], [0.5, 0.125]], np.float32)


def _classifier(**results: Any) -> tuple[Signature, Model]:
    dtypes = {"classes": "string", "scores": "float32"}
    outputs = {key: dtypes[key] for key in results}
    return _signature({"inputs": "string"}, outputs, CLASSIFY), Model(**results)


def test_classes_and_scores() -> None:
    entry = _classifier(classes=np.asarray(_CLASSES, object), scores=_SCORES)
    servable = _servable({"s": entry})
    assert servable.classify("s", _EXAMPLES, None) == [
        [("cat", 0.75), ("dog", 0.25)],
        [("dog", 0.5), ("ü", 0.125)],
    ]
    assert entry[1].calls[0][0]["inputs"].tolist() == _EXAMPLES


def test_scores_or_classes_alone() -> None:
    assert _servable({"s": _classifier(scores=_SCORES)}).classify("s", _EXAMPLES, None) == [
        [("", 0.75), ("", 0.25)],
        [("", 0.5), ("", 0.125)],
    ]
    entry = _classifier(classes=np.asarray(_CLASSES, object))
    assert _servable({"s": entry}).classify("s", _EXAMPLES, None) == [
        [("cat", 0.0), ("dog", 0.0)],
        [("dog", 0.0), ("ü", 0.0)],
    ]


@pytest.mark.parametrize(
    ("results", "why"),
    [
        (
            {"scores": _SCORES[0]},
            r"Expected Tensor shape: \[batch_size num_classes\] but got \[2\]",
        ),
        ({"scores": _SCORES[:1]}, "Expected scores output batch size of 2. Got: 1"),
        (
            {"scores": _SCORES.astype(np.float64)},
            "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
        ),
        ({"classes": [[1, 2], [3, 4]]}, "Expected classes Tensor of DT_STRING. Got: DT_INT64"),
        (
            {"classes": np.asarray(_CLASSES, object), "scores": _SCORES[:, :1]},
            r"Tensors class and score should match in dim_size\(1\). Got 2 vs. 1",
        ),
    ],
)
def test_classes_that_are_none(results: Mapping[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why):
        _servable({"s": _classifier(**results)}).classify("s", _EXAMPLES, None)


def test_no_examples() -> None:
    with pytest.raises(InvalidRequestError, match="Input is empty"):
        _servable({"s": _classifier(scores=_SCORES)}).classify("s", [], None)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_regression(shape: tuple[int, ...]) -> None:
    signature = _signature({"inputs": "string"}, {"outputs": "float32"}, REGRESS)
    values = np.asarray([3.0, 0.5], np.float32).reshape(shape)
    servable = _servable({"s": (signature, Model(outputs=values))})
    assert servable.regress("s", _EXAMPLES, None) == [3.0, 0.5]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.ones((2, 2), np.float32), r"\[batch_size, 1\] but got \[2,2\]"),
        (np.ones(3, np.float32), "Input batch size did not match output batch size: 2 vs. 3"),
        (np.ones(2), "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
    ],
)
def test_values_that_are_none(values: Array, why: str) -> None:
    signature = _signature({"inputs": "string"}, {"outputs": "float32"}, REGRESS)
    with pytest.raises(InvalidRequestError, match=why):
        _servable({"s": (signature, Model(outputs=values))}).regress("s", _EXAMPLES, None)


@pytest.mark.parametrize(
    ("inputs", "outputs", "why"),
    [
        ({"a": "string", "b": "string"}, {"scores": "float32"}, "Expected one input Tensor"),
        ({"x": "string"}, {"scores": "float32"}, "No classification inputs found"),
        ({"inputs": "float32"}, {"scores": "float32"}, "to be float but string is provided"),
        ({"inputs": "string"}, {"y": "float32"}, 'at least one of "classes" or "scores"'),
        (
            {"inputs": "string"},
            dict.fromkeys("abc", "float32"),
            "one or two output Tensors, found 3",
        ),
    ],
)
def test_signatures_that_classify_nothing(
    inputs: Mapping[str, str], outputs: Mapping[str, str], why: str
) -> None:
    servable = _servable({"s": (_signature(inputs, outputs), Model())})
    with pytest.raises(InvalidRequestError, match=why):
        servable.classify("s", _EXAMPLES, None)


def test_signatures_that_regress_nothing() -> None:
    two = _signature({"inputs": "string"}, {"outputs": "float32", "more": "float32"})
    other = _signature({"inputs": "string"}, {"y": "float32"})
    servable = _servable({"two": (two, Model()), "other": (other, Model())})
    with pytest.raises(InvalidRequestError, match="Expected one output Tensor"):
        servable.regress("two", _EXAMPLES, None)
    with pytest.raises(InvalidRequestError, match="No regression outputs found"):
        servable.regress("other", _EXAMPLES, None)


def test_method_names_count_where_that_is_wanted() -> None:
    odd = _signature({"x": "float32"}, {"y": "float32"}, "mine")
    predict = _signature({"inputs": "string"}, {"outputs": "float32", "scores": "float32"})
    servable = _servable({"odd": (odd, Model()), "p": (predict, Model())}, checks_methods=True)
    with pytest.raises(InternalError, match=r"to be one of .*Was: mine"):
        servable.predict("odd", {"x": np.ones(1, np.float32)}, (), None)
    with pytest.raises(InvalidRequestError, match="Expected classification signature method_name"):
        servable.classify("p", _EXAMPLES, None)
    with pytest.raises(InvalidRequestError, match="Expected regression signature method_name"):
        servable.regress("p", _EXAMPLES, None)


def test_requests_of_a_signature_with_a_queue_are_put_together() -> None:
    signature = _signature({"x": "float32"}, {"y": "float32"})
    model = Model(y=np.ones(1, np.float32))
    scheduler = Scheduler(BatchingParameters(threads=1))
    queue = scheduler.queue(model.run)
    entry = Entry(signature, Model().run, model.close, queue)
    servable = SavedModel(1, {"s": signature}, {"s": entry}, {})
    assert servable.predict("s", {"x": np.ones(1, np.float32)}, (), None)["y"].tolist() == [1]
    servable.close()
    assert queue.is_closed
    assert model.is_closed
    scheduler.close()
