"""Errors as TensorFlow's callers know them.

What TensorFlow would raise for the same mistake is raised here too: by classes that are both of
our own tree and Python's, and TensorFlow's as well where the application has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    DeadlineExceededError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.frameworks.twofold import both, is_both, like

# TensorFlow's class and error code for each of ours.
# https://github.com/tensorflow/tensorflow/blob/master/tensorflow/python/framework/errors_impl.py
_OF_OURS: tuple[tuple[type[ElasticInferenceError], str, int], ...] = (
    (InvalidRequestError, "InvalidArgumentError", 3),
    (DeadlineExceededError, "DeadlineExceededError", 4),
    (NotFoundError, "NotFoundError", 5),
    (AccessDeniedError, "PermissionDeniedError", 7),
    (AcceleratorOutOfMemoryError, "ResourceExhaustedError", 8),
    (LimitExceededError, "ResourceExhaustedError", 8),
    (ConflictError, "FailedPreconditionError", 9),
    (InternalError, "InternalError", 13),
    (UnavailableError, "UnavailableError", 14),
    (AuthenticationError, "UnauthenticatedError", 16),
)


def translate(error: ElasticInferenceError, *also: type[Exception]) -> ElasticInferenceError:
    """`error` as TensorFlow's too, where there is one like it.

    Args:
        also: classes of Python's that it is to be besides.
    """
    if is_both(error):
        return error
    return like(_cls(type(error), also), error)


def refused(
    message: str, *also: type[Exception], next_step: str | None = None
) -> ElasticInferenceError:
    """The error for an argument or a value that does not fit; a ValueError if not told else."""
    cls = _cls(InvalidRequestError, also or (ValueError,))
    return cls(message, next_step=next_step)


def no_saved_model(path: object) -> ElasticInferenceError:
    """TensorFlow's error for a folder in which there is no SavedModel."""
    return both((OSError,), NotFoundError)(
        f"SavedModel file does not exist at: {path}/{{saved_model.pbtxt|saved_model.pb}}.",
        next_step="Name the folder that holds saved_model.pb, or the file of a frozen graph.",
    )


def no_file(path: object) -> ElasticInferenceError:
    """The error for a frozen graph's file that is not there."""
    return _cls(NotFoundError, (OSError,))(f"{path}: No such file or directory.", next_step="")


def no_tags(tags: Sequence[str], known: str) -> ElasticInferenceError:
    """TensorFlow's error for tags that no meta graph has.

    Args:
        known: a sentence with those that there are.
    """
    return both((RuntimeError,), NotFoundError)(
        f"MetaGraphDef associated with tags {set(tags) or '{}'} could not be found in SavedModel: "
        f"{known}"
    )


def no_signature(wanted: str, known: Sequence[str]) -> ElasticInferenceError:
    """The Predictor's error for a signature that is not there."""
    return both((ValueError,), NotFoundError)(
        f'Got signature_def_key "{wanted}". Available signatures are {list(known)}.',
        next_step="Give one of these as signature_def_key.",
    )


def closed(what: str) -> ElasticInferenceError:
    """The error for the use of what was closed."""
    return both((RuntimeError,), ConflictError)(f"Attempted to use a closed {what}.")


def _cls(
    ours: type[ElasticInferenceError], also: tuple[type[Exception], ...]
) -> type[ElasticInferenceError]:
    for cls, name, code in _OF_OURS:
        theirs = _exception_class(name) if issubclass(ours, cls) else None
        if theirs is not None:
            # TensorFlow has these as properties, whose values its own __init__ keeps.
            members = {"message": "", "op": None, "node_def": None, "error_code": code}
            return both((theirs, *also), ours, members)
    return both(also, ours)


def _exception_class(name: str) -> Any:
    errors = getattr(sys.modules.get("tensorflow"), "errors", None)
    return getattr(errors, name, None)
