"""The messages of the services, against the generated classes of tensorflow-serving-api."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from elastic_inference.errors import (
    InvalidRequestError,
    ModelFormatError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.frameworks.tensorflow.signatures import Signature, read_signature
from elastic_inference.serving import messages
from elastic_inference.serving.config import ModelConfig, ModelServerConfig, VersionPolicy
from elastic_inference.serving.service import (
    Classified,
    ModelSpec,
    Prediction,
    Regressed,
    VersionStatus,
)

FEW = settings(max_examples=30, deadline=None)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOATS = st.floats(width=32, allow_nan=False)
SPECS = st.builds(
    ModelSpec,
    TEXT,
    st.one_of(st.none(), INT64),
    st.just(""),
    TEXT,
) | st.builds(ModelSpec, TEXT, st.none(), TEXT, TEXT)
PREDICT = "tensorflow/serving/predict"


def fill(theirs: Any, spec: ModelSpec) -> None:
    theirs.name = spec.name
    theirs.signature_name = spec.signature
    if spec.version is not None:
        theirs.version.value = spec.version
    elif spec.label:
        theirs.version_label = spec.label


def spec_of(theirs: Any) -> ModelSpec:
    version = theirs.version.value if theirs.HasField("version") else None
    return ModelSpec(theirs.name, version, theirs.version_label, theirs.signature_name)


def examples(*values: float) -> list[tf.train.Example]:
    made = []
    for value in values:
        example = tf.train.Example()
        example.features.feature["x"].float_list.value.append(value)
        made.append(example)
    return made


@FEW
@given(
    spec=SPECS,
    inputs=st.dictionaries(TEXT, st.lists(FLOATS, max_size=4), max_size=3),
    outputs=st.lists(TEXT, max_size=3),
)
def test_reads_predict_requests(
    spec: ModelSpec, inputs: dict[str, list[float]], outputs: list[str]
) -> None:
    theirs = predict_pb2.PredictRequest(output_filter=outputs)
    fill(theirs.model_spec, spec)
    for key, values in inputs.items():
        theirs.inputs[key].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    found = messages.read_predict(theirs.SerializeToString())
    assert found.spec == spec
    assert found.outputs == outputs
    assert {key: value.tolist() for key, value in found.inputs.items()} == inputs
    assert found.dtypes == dict.fromkeys(inputs, "float32")


def test_a_wrong_tensor_is_named() -> None:
    theirs = predict_pb2.PredictRequest()
    theirs.inputs["image"].dtype = 99
    with pytest.raises(InvalidRequestError, match=r"^tensor parsing error: image: "):
        messages.read_predict(theirs.SerializeToString())


@FEW
@given(
    spec=SPECS.filter(lambda spec: not spec.label),
    outputs=st.dictionaries(TEXT, st.lists(INT64, max_size=4), max_size=3),
)
def test_writes_predict_responses(spec: ModelSpec, outputs: dict[str, list[int]]) -> None:
    prediction = Prediction(
        spec,
        {key: np.array(values, np.int64) for key, values in outputs.items()},
        Signature({}, {key: Tensor("y:0", "int64", None) for key in outputs}, PREDICT, b""),
    )
    for as_content in (False, True):
        raw = messages.write_prediction(prediction, as_content=as_content)
        theirs = predict_pb2.PredictResponse.FromString(raw)
        assert spec_of(theirs.model_spec) == spec
        found = {key: tf.make_ndarray(value).tolist() for key, value in theirs.outputs.items()}
        assert found == outputs


@pytest.mark.parametrize(
    "kind", [classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest]
)
@FEW
@given(spec=SPECS, values=st.lists(FLOATS, min_size=1, max_size=4))
def test_reads_examples(kind: Any, spec: ModelSpec, values: list[float]) -> None:
    theirs = kind()
    fill(theirs.model_spec, spec)
    theirs.input.example_list.examples.extend(examples(*values))
    found, raw = messages.read_inference(theirs.SerializeToString())
    assert found == spec
    assert [*map(tf.train.Example.FromString, raw)] == examples(*values)


def test_a_context_is_merged_into_each_example() -> None:
    theirs = classification_pb2.ClassificationRequest()
    given_list = theirs.input.example_list_with_context
    given_list.examples.extend(examples(1, 2))
    given_list.context.features.feature["x"].float_list.value.append(9)
    given_list.context.features.feature["y"].bytes_list.value.append(b"of all")
    _, raw = messages.read_inference(theirs.SerializeToString())
    for value, found in zip((1, 2), map(tf.train.Example.FromString, raw), strict=True):
        features = found.features.feature
        assert features["x"].float_list.value == [value]
        assert features["y"].bytes_list.value == [b"of all"]


@pytest.mark.parametrize("kind", ["", "example_list", "example_list_with_context"])
def test_no_examples_are_refused(kind: str) -> None:
    theirs = regression_pb2.RegressionRequest()
    if kind:
        getattr(theirs.input, kind).SetInParent()
    with pytest.raises(InvalidRequestError, match="Input is empty"):
        messages.read_inference(theirs.SerializeToString())


def test_reads_multi_inference_requests() -> None:
    theirs = inference_pb2.MultiInferenceRequest()
    specs = [ModelSpec("m", 1, "", "a"), ModelSpec("m", None, "stable", "b")]
    for spec, method in zip(specs, ("tensorflow/serving/regress", "x"), strict=True):
        task = theirs.tasks.add(method_name=method)
        fill(task.model_spec, spec)
    theirs.input.example_list.examples.extend(examples(2))
    tasks, raw = messages.read_multi_inference(theirs.SerializeToString())
    assert tasks == [(specs[0], "tensorflow/serving/regress"), (specs[1], "x")]
    assert [*map(tf.train.Example.FromString, raw)] == examples(2)


SCORES = st.lists(st.lists(st.tuples(TEXT, FLOATS), max_size=3), max_size=3)


@FEW
@given(rows=SCORES, values=st.lists(FLOATS, max_size=4))
def test_writes_classes_and_values(
    rows: list[list[tuple[str, float]]], values: list[float]
) -> None:
    spec = ModelSpec("m", 3, "", "s")
    classified, regressed = Classified(spec, rows), Regressed(spec, values)
    classes = classification_pb2.ClassificationResponse.FromString(
        messages.write_classified(classified)
    )
    regressions = regression_pb2.RegressionResponse.FromString(messages.write_regressed(regressed))
    both = inference_pb2.MultiInferenceResponse.FromString(
        messages.write_multi_inference([classified, regressed])
    )
    for each in (classes, regressions, *both.results):
        assert spec_of(each.model_spec) == spec
    for result in (classes.result, both.results[0].classification_result):
        assert [
            [(one.label, one.score) for one in row.classes] for row in result.classifications
        ] == rows
    for result in (regressions.result, both.results[1].regression_result):
        assert [one.value for one in result.regressions] == values


def test_metadata_is_what_the_model_says() -> None:
    theirs = get_model_metadata_pb2.SignatureDefMap()
    signature = theirs.signature_def["serving_default"]
    signature.method_name = PREDICT
    signature.inputs["x"].name = "x:0"
    signature.inputs["x"].dtype = 1
    raw = messages.write_metadata(
        ModelSpec("m", 5), {"serving_default": read_signature(signature.SerializeToString())}
    )
    answer = get_model_metadata_pb2.GetModelMetadataResponse.FromString(raw)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    assert found == theirs
    assert spec_of(answer.model_spec) == ModelSpec("m", 5)
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["a", "b"])
    assert messages.read_metadata(asked.SerializeToString()) == (None, ["a", "b"])
    asked.model_spec.name = "m"
    assert messages.read_metadata(asked.SerializeToString())[0] == ModelSpec("m")


def test_status_tells_why_a_version_ended() -> None:
    versions = [
        VersionStatus(2**40, "AVAILABLE"),
        VersionStatus(7, "END", ModelFormatError("The file is damaged.")),
        VersionStatus(8, "LOADING", UnavailableError("Not yet.", next_step="Wait.")),
        VersionStatus(9, "END", NotFoundError("é" * 5000)),
    ]
    answer = get_model_status_pb2.GetModelStatusResponse.FromString(messages.write_status(versions))
    found = [
        (each.version, each.state, each.status.error_code, each.status.error_message)
        for each in answer.model_version_status
    ]
    assert found == [
        (2**40, 30, 0, ""),
        (7, 50, 3, "The file is damaged."),
        (8, 20, 14, "Not yet. Wait."),
        (9, 50, 5, "é" * 1024 + "...TRUNCATED"),
    ]
    asked = get_model_status_pb2.GetModelStatusRequest()
    assert messages.read_status(asked.SerializeToString()) is None
    asked.model_spec.name = "m"
    assert messages.read_status(asked.SerializeToString()) == ModelSpec("m")


def test_reads_configurations() -> None:
    theirs = model_management_pb2.ReloadConfigRequest()
    assert messages.read_reload(theirs.SerializeToString()) is None
    configs = theirs.config.model_config_list.config
    configs.add(name="a", base_path="/a", model_platform="tensorflow")
    configs.add(name="b", base_path="/b", model_platform="tensorflow")
    configs[1].model_version_policy.specific.versions.extend([1, 2**40])
    configs[1].version_labels["stable"] = 1
    configs[1].logging_config.SetInParent()
    configs.add(name="c", base_path="/c", model_type=1)
    configs[2].model_version_policy.all.SetInParent()
    configs.add(name="d")
    configs[3].model_version_policy.latest.num_versions = 3
    assert messages.read_reload(theirs.SerializeToString()) == ModelServerConfig(
        (
            ModelConfig("a", "/a", "tensorflow"),
            ModelConfig(
                "b",
                "/b",
                "tensorflow",
                VersionPolicy("specific", versions=(1, 2**40)),
                {"stable": 1},
                is_logged=True,
            ),
            ModelConfig("c", "/c", "tensorflow", VersionPolicy("all")),
            ModelConfig("d", "", "", VersionPolicy("latest", 3)),
        )
    )
    theirs.config.custom_model_config.type_url = "x/y"
    assert messages.read_reload(theirs.SerializeToString()) == ModelServerConfig(custom="x/y")


READERS = [
    messages.read_predict,
    messages.read_inference,
    messages.read_multi_inference,
    messages.read_metadata,
    messages.read_status,
    messages.read_reload,
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@FEW
@given(raw=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(reader: Any, raw: bytes) -> None:
    try:
        reader(raw)
    except InvalidRequestError:
        return


def test_cut_requests_are_refused() -> None:
    theirs = predict_pb2.PredictRequest()
    theirs.model_spec.name = "default"
    theirs.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    raw = theirs.SerializeToString()
    for end in range(len(raw)):
        try:
            found = messages.read_predict(raw[:end])
        except InvalidRequestError:
            continue
        # Where it is cut between two fields it is a shorter request.
        assert "x" not in found.inputs
