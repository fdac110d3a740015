"""Models of every kind become one graph, with TensorFlow's results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.errors import ModelFormatError, NotFoundError
from elastic_inference.frameworks.tensorflow.freeze import load
from elastic_inference.frameworks.tensorflow.frozen import Frozen
from elastic_inference.frameworks.tensorflow.source import Source
from tests.frameworks.tensorflow import simple

X = np.array([[1.0, 2.0, 3.0]], np.float32)
_VARIABLES = {"VarHandleOp", "Variable", "VariableV2"}


def _run(frozen: Frozen, feeds: Mapping[str, Any], times: int = 1) -> dict[str, Any]:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.import_graph_def(frozen.definition, name="")
        if frozen.initializer:
            session.run(graph.get_operation_by_name(frozen.initializer))
        fed = {frozen.inputs[key]: value for key, value in feeds.items()}
        for _ in range(times):
            values = session.run(list(frozen.outputs.values()), fed)
    return dict(zip(frozen.outputs, values, strict=True))


def _operators(frozen: Frozen) -> set[str]:
    functions = [node for each in frozen.definition.library.function for node in each.node_def]
    return {node.op for node in (*frozen.definition.node, *functions)}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simple.saved_model(tmp_path_factory.mktemp("freeze") / "first")


def test_variables_of_tensorflow_1_become_constants(first: Path) -> None:
    frozen = load(Source(first))
    assert not _operators(frozen) & _VARIABLES
    assert frozen.method == "tensorflow/serving/predict"
    found = _run(frozen, {"x": X})
    np.testing.assert_allclose(found["y"], X @ simple.WEIGHTS * 2)


def test_tensors_may_be_named_in_place_of_a_signature(first: Path) -> None:
    names = Source(first, signature="", inputs={"given": "x"}, outputs={"made": "y:0"})
    frozen = load(names)
    assert (dict(frozen.inputs), dict(frozen.outputs)) == ({"given": "x:0"}, {"made": "y:0"})
    np.testing.assert_allclose(_run(frozen, {"given": X})["made"], X @ simple.WEIGHTS * 2)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"signature": "nothing"}, "serving_default"),
        ({"inputs": {"x": "nothing:0"}}, "x:0"),
        ({"outputs": {"y": "y:7"}}, "placeholders"),
    ],
)
def test_names_that_are_not_there_are_told_with_those_that_are(
    first: Path, source: dict[str, Any], says: str
) -> None:
    with pytest.raises(NotFoundError, match=says):
        load(Source(first, **source))


def test_functions_and_variables_of_tensorflow_2(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(simple.WEIGHTS)

    inner = tf.function(lambda x: tf.matmul(x, module.weights))
    serve = tf.function(
        lambda x: {"y": inner(x) + 1.0, "n": tf.shape(x)[0]},
        input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")],
    )
    tf.saved_model.save(module, str(tmp_path), signatures=serve)
    frozen = load(Source(tmp_path))
    operators = _operators(frozen)
    assert not operators & (_VARIABLES | {"ReadVariableOp"})
    assert not any("PartitionedCall" in op for op in operators)
    found = _run(frozen, {"x": X})
    np.testing.assert_allclose(found["y"], X @ simple.WEIGHTS + 1)
    assert found["n"] == 1


def test_tables_keep_what_fills_them(tmp_path: Path) -> None:
    import tensorflow as tf

    words = tmp_path / "words.txt"
    words.write_text("cat\ndog\n")
    module = tf.Module()
    module.table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        num_oov_buckets=1,
    )  # fmt: skip

    serve = tf.function(
        lambda words: {"ids": module.table.lookup(words)},
        input_signature=[tf.TensorSpec([None], tf.string, name="words")],
    )
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=serve)
    words.unlink()
    frozen = load(Source(tmp_path / "model"))
    assert [Path(each).name for each in frozen.assets.values()] == ["words.txt"]
    given = np.array([b"dog", b"cow", b"cat"], object)
    np.testing.assert_array_equal(_run(frozen, {"words": given})["ids"], [1, 2, 0])


def test_variables_that_the_graph_writes_stay_variables(tmp_path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        by = v1.placeholder(tf.float32, [], name="by")
        counter = v1.get_variable("counter", initializer=10.0)
        fixed = v1.get_variable("fixed", initializer=2.0)
        total = tf.identity(v1.assign_add(counter, by * fixed), name="total")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "model"), {"by": by}, {"total": total})
    frozen = load(Source(tmp_path / "model"))
    assert _run(frozen, {"by": 1.0})["total"] == 12.0
    assert _run(frozen, {"by": 1.0}, times=3)["total"] == 16.0


def test_frozen_graphs_binary_and_as_text(tmp_path: Path) -> None:
    from google.protobuf import text_format

    binary = simple.frozen_graph(tmp_path / "graph.pb")
    text = tmp_path / "graph.pbtxt"
    text.write_text(text_format.MessageToString(simple.graph().as_graph_def()))
    image = np.full((1, 2, 2, 1), 3, np.uint8)
    for path in (binary, text):
        frozen = load(Source(path, signature=""))
        assert (dict(frozen.inputs), dict(frozen.outputs)) == (
            {"image": "image:0"},
            {"doubled": "doubled:0"},
        )
        np.testing.assert_array_equal(_run(frozen, {"image": image})["doubled"], image * 2.0)


def test_graphs_that_cannot_be_loaded_are_refused_with_the_reason(tmp_path: Path) -> None:
    import tensorflow as tf

    (tmp_path / "text.pb").write_bytes(b"this is no graph")
    with pytest.raises(ModelFormatError, match="no GraphDef"):
        load(Source(tmp_path / "text.pb"))
    with tf.Graph().as_default() as graph:
        tf.compat.v1.get_variable("weights", [2])
    (tmp_path / "open.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(ModelFormatError, match="not frozen: weights"):
        load(Source(tmp_path / "open.pb"))
    definition = simple.graph().as_graph_def()
    definition.node[0].op = "NobodyKnowsThis"
    (tmp_path / "unknown.pb").write_bytes(definition.SerializeToString())
    with pytest.raises(ModelFormatError, match="NobodyKnowsThis"):
        load(Source(tmp_path / "unknown.pb"))


def test_a_damaged_model_is_refused_with_the_reason(first: Path, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes((first / "saved_model.pb").read_bytes())
    with pytest.raises(ModelFormatError, match="variables"):
        load(Source(tmp_path))
