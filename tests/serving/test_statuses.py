"""Errors as clients of a model server are told of them."""

from __future__ import annotations

import grpc
import pytest

from elastic_inference import errors
from elastic_inference.errors import (
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    LimitExceededError,
)
from elastic_inference.serving.statuses import (
    BY_NAME,
    UnsupportedError,
    known,
    status_of,
    words_of,
)


def test_codes_are_those_of_grpc() -> None:
    assert {each.name: each.code for each in BY_NAME.values()} == {
        each.name: each.value[0] for each in grpc.StatusCode
    }


@pytest.mark.parametrize(
    ("kind", "name", "http"),
    [
        (errors.InvalidRequestError, "INVALID_ARGUMENT", 400),
        (errors.ModelFormatError, "INVALID_ARGUMENT", 400),
        (errors.NotFoundError, "NOT_FOUND", 404),
        (errors.ConflictError, "FAILED_PRECONDITION", 400),
        (errors.AccessDeniedError, "PERMISSION_DENIED", 403),
        (errors.AuthenticationError, "UNAUTHENTICATED", 401),
        (errors.AcceleratorOutOfMemoryError, "RESOURCE_EXHAUSTED", 429),
        (errors.LimitExceededError, "RESOURCE_EXHAUSTED", 429),
        (errors.UnavailableError, "UNAVAILABLE", 503),
        (errors.AcceleratorLostError, "UNAVAILABLE", 503),
        (errors.DeadlineExceededError, "DEADLINE_EXCEEDED", 504),
        (errors.InternalError, "INTERNAL", 500),
        (UnsupportedError, "UNIMPLEMENTED", 501),
    ],
)
def test_kinds_have_their_codes(kind: type[ElasticInferenceError], name: str, http: int) -> None:
    status = status_of(kind("x"))
    assert (status.name, status.http) == (name, http)


def test_every_kind_has_a_code() -> None:
    kinds = {
        each.kind: each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, ElasticInferenceError)
    }
    for kind in kinds.values():
        assert status_of(kind("x")).name != "UNKNOWN" or kind is ElasticInferenceError


def test_words_tell_the_next_step_and_are_bounded() -> None:
    assert words_of(InvalidRequestError("No.", next_step="Do.")) == "No. Do."
    assert words_of(InternalError("No.")) == "No."
    assert words_of(InvalidRequestError("x" * 2000)) == "x" * 1024 + "...TRUNCATED"


def test_what_nobody_expected_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = known(KeyError("secret"), "Predict")
    assert isinstance(error, InternalError)
    assert "secret" not in words_of(error)
    assert "secret" in caplog.text
    assert "Predict failed" in caplog.text
    assert isinstance(known(MemoryError(), "Predict"), LimitExceededError)
    asked = InvalidRequestError("x")
    assert known(asked, "Predict") is asked
