"""What a client is refused with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError


@contextlib.contextmanager
def refused(code: str, *words: str, status: int = 400) -> Iterator[None]:
    """Check that what is done inside is refused with a code of AWS's, and with those words."""
    with pytest.raises(ClientError) as failed:
        yield
    error = failed.value.response["Error"]
    assert error["Code"] == code, error
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    for each in words:
        assert each in error["Message"]
