"""Errors are TensorFlow's, Python's and of our own tree at once."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest

from elastic_inference import errors
from elastic_inference.frameworks.tensorflow import failures


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (errors.InvalidRequestError, "InvalidArgumentError"),
        (errors.ModelFormatError, "InvalidArgumentError"),
        (errors.NotFoundError, "NotFoundError"),
        (errors.DeadlineExceededError, "DeadlineExceededError"),
        (errors.AccessDeniedError, "PermissionDeniedError"),
        (errors.AuthenticationError, "UnauthenticatedError"),
        (errors.AcceleratorOutOfMemoryError, "ResourceExhaustedError"),
        (errors.AcceleratorLostError, "UnavailableError"),
        (errors.InternalError, "InternalError"),
    ],
)
def test_every_kind_is_one_of_tensorflows(
    ours: type[errors.ElasticInferenceError], theirs: str
) -> None:
    import tensorflow as tf

    error = failures.translate(ours("It happened.", next_step="Do this.", request_id="r-1"))
    assert isinstance(error, ours)
    assert isinstance(error, getattr(tf.errors, theirs))
    assert str(error) == str(ours("It happened.", next_step="Do this.", request_id="r-1"))
    # What programs read of TensorFlow's errors.
    assert error.message == "It happened."
    assert (error.op, error.node_def) == (None, None)
    assert error.error_code == _code(tf, theirs)
    assert failures.translate(error) is error


def _code(tf: Any, name: str) -> int:
    cls = getattr(tf.errors, name)
    return int(cls(None, None, "").error_code)


def test_an_error_can_be_pythons_as_well() -> None:
    import tensorflow as tf

    error = failures.refused("No.", TypeError)
    assert isinstance(error, TypeError)
    assert isinstance(error, tf.errors.InvalidArgumentError)
    assert isinstance(failures.no_saved_model("x"), OSError)
    assert isinstance(failures.no_file("x"), tf.errors.NotFoundError)
    assert isinstance(failures.closed("EIPredictor"), RuntimeError)


def test_it_can_be_sent_to_another_process() -> None:
    import tensorflow as tf

    sent = failures.translate(errors.NotFoundError("Nothing there.", request_id="r-1"), OSError)
    got = pickle.loads(pickle.dumps(sent))  # noqa: S301 - it was made here
    assert type(got) is type(sent)
    assert isinstance(got, tf.errors.NotFoundError)
    assert str(got) == str(sent)


def test_without_tensorflow_it_is_not_loaded() -> None:
    program = """
import sys
from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow import failures
error = failures.refused("No.")
assert type(error).__mro__[1:3] == (ValueError, InvalidRequestError), type(error).__mro__
assert type(failures.translate(InvalidRequestError("No."))) is InvalidRequestError
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
