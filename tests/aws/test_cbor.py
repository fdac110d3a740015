"""CBOR beside a full implementation of it."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.aws import cbor
from elastic_inference.aws.cbor import Moment

TIMES = st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2100, 1, 1)).map(  # noqa: DTZ001 - below
    lambda each: each.replace(microsecond=0, tzinfo=dt.UTC)
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=300)
    | st.text(max_size=300)
    | TIMES
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=30) | st.dictionaries(st.text(max_size=30), below),
    max_leaves=40,
)


def own(value: Any) -> Any:
    """As the decoder here has it."""
    if isinstance(value, dt.datetime):
        return Moment(value.timestamp())
    if isinstance(value, list):
        return [own(each) for each in value]
    if isinstance(value, dict):
        return {key: own(each) for key, each in value.items()}
    return value


@given(VALUES, st.booleans(), st.booleans())
def test_what_others_write_is_read(value: Any, canonical: bool, unbounded: bool) -> None:
    raw = cbor2.dumps(
        value, canonical=canonical, indefinite_containers=unbounded, datetime_as_timestamp=True
    )
    assert cbor.decode(raw) == own(value)


@given(VALUES)
def test_what_is_written_others_read(value: Any) -> None:
    raw = cbor.encode(own(value))
    assert cbor2.loads(raw) == value
    assert cbor.decode(raw) == own(value)


@given(st.binary(max_size=200))
def test_bytes_are_refused_or_read_as_others_read_them(raw: bytes) -> None:
    try:
        found = cbor.decode(raw)
    except ValueError:
        return
    assert cbor.decode(cbor.encode(found)) == found or found != found  # noqa: PLR0124 - NaN


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\x7f\x61a\x60\x62bc\xff", "abc"),
        (b"\x5f\x41a\x40\xff", b"a"),
        (b"\x9f\x01\x9f\xff\xff", [1, []]),
        (b"\xbf\x61a\x01\xff", {"a": 1}),
        (b"\x18\x01", 1),
        (b"\x1b\x00\x00\x00\x00\x00\x00\x00\x01", 1),
        (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", -(1 << 64)),
        (b"\xf9\x3e\x00", 1.5),
        (b"\xfa\x3f\xc0\x00\x00", 1.5),
        (b"\xf7", None),
        (b"\xc1\x01", Moment(1.0)),
    ],
)
def test_every_form_of_a_value_is_read(raw: bytes, value: Any) -> None:
    assert cbor.decode(raw) == value


def test_what_is_no_number_is_read_and_is_none() -> None:
    assert math.isnan(cbor.decode(b"\xf9\x7e\x00"))
