"""The original's modules and TensorFlow 1's names, under `ei run` and by an import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def python(script: str, *arguments: str, **env: str) -> list[str]:
    """The lines that a fresh interpreter prints; TensorFlow's own remarks go elsewhere."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=dict(os.environ) | _QUIET | env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


_NAMES = """
import tensorflow as tf
have = {name: getattr(tf, name) for name in ("Graph", "io", "train", "nn", "function", "Tensor")}
START
from tensorflow.contrib.ei.python.predictor.ei_predictor import EIPredictor
from tensorflow.contrib.ei.python.keras.ei_keras import EIKerasModel
from ei_for_tf.python.predictor.ei_predictor import EIPredictor as later
from ei_for_tf.python.keras import ei_keras
import tensorflow.contrib.ei
import elastic_inference.tensorflow as ours
assert EIPredictor is later is ours.EIPredictor is tensorflow.contrib.ei.EIPredictor
assert EIKerasModel is ei_keras.EIKerasModel is ours.EIKerasModel
assert tf.contrib.util.make_tensor_proto([1.0], shape=[1]).float_val == [1.0]
assert tf.contrib.util.make_ndarray(tf.make_tensor_proto([3])).tolist() == [3]
assert tf.GraphDef is tf.compat.v1.GraphDef and tf.Session is tf.compat.v1.Session
assert tf.gfile is tf.compat.v1.gfile
assert tf.executing_eagerly()
with tf.Graph().as_default(), tf.Session() as session:
    x = tf.placeholder(tf.float32, [])
    print(session.run(x + 1, {x: 2}))
assert all(getattr(tf, name) is value for name, value in have.items())
"""
_APP = """
import sys
import tensorflow as tf
tf.app.flags.DEFINE_string("server", "localhost:9000", "host:port")
tf.app.flags.DEFINE_string("image", "", "path to image in JPEG format")
FLAGS = tf.app.flags.FLAGS

def main(_):
    print(FLAGS.server, FLAGS.image)

if __name__ == "__main__":
    tf.app.run()
"""


def test_under_ei_run_the_names_are_there() -> None:
    assert python(_NAMES.replace("START", ""), EI_RUN="1") == ["3.0"]


def test_one_import_brings_them_elsewhere() -> None:
    start = "import elastic_inference.tensorflow.compat\nimport elastic_inference.tensorflow.compat"
    assert python(_NAMES.replace("START", start)) == ["3.0"]


def test_flags_are_parsed_as_ever() -> None:
    given = ("--server=there:1", "--image", "dogs.jpg")
    assert python(_APP, *given, EI_RUN="1") == ["there:1 dogs.jpg"]


def test_flags_may_be_read_before_the_program_runs() -> None:
    script = _APP.replace('if __name__ == "__main__":', "print(FLAGS.image)\nif True:")
    assert python(script, "--image=a.jpg", EI_RUN="1") == ["a.jpg", "localhost:9000 a.jpg"]


def test_without_either_nothing_is_changed() -> None:
    script = """
import importlib.util
import tensorflow as tf
print([name for name in ("app", "contrib", "Session", "GraphDef") if hasattr(tf, name)])
print(importlib.util.find_spec("ei_for_tf"))
"""
    assert python(script) == ["[]", "None"]


def test_the_originals_module_needs_no_tensorflow() -> None:
    script = """
import sys
from ei_for_tf.python.predictor.ei_predictor import EIPredictor
print("tensorflow" in sys.modules, EIPredictor.__name__)
"""
    assert python(script, EI_RUN="1") == ["False EIPredictor"]
    assert python(script, EI_RUN="1", EI_VISIBLE_DEVICES="") == ["False EIPredictor"]


def test_a_package_of_that_name_stays_the_users(tmp_path: Path) -> None:
    (tmp_path / "ei_for_tf.py").write_text("mine = 7")
    script = "import ei_for_tf; print(ei_for_tf.mine)"
    assert python(script, EI_RUN="1", PYTHONPATH=str(tmp_path)) == ["7"]


def test_a_tensorflow_that_cannot_be_adapted_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("value = 7")
    done = subprocess.run(
        [sys.executable, "-c", "import tensorflow; print(tensorflow.value)"],
        env=dict(os.environ) | {"EI_RUN": "1", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "7\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("elastic-inference: tensorflow runs without an accelerator: ")


def test_the_names_that_are_ours_alone() -> None:
    import elastic_inference.tensorflow as ours

    with pytest.raises(AttributeError, match="no attribute 'other'"):
        ours.other  # noqa: B018 - asking for it is the point
    assert ours.__all__ == sorted(ours.__all__) == dir(ours)
    for name in ours.__all__:
        assert callable(getattr(ours, name))
