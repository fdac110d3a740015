"""Data-plane tokens: what opens, and what does not."""

from __future__ import annotations

import base64
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.errors import AuthenticationError
from elastic_inference.protocol.tokens import Claims, mint, verify

KEY = bytes(range(32))
CLAIMS = Claims("eia-1", "i-1", "default", 1000.0)


def test_a_token_says_what_was_minted() -> None:
    assert verify(KEY, mint(KEY, CLAIMS).encode(), "eia-1", 999.0) == CLAIMS


def test_a_token_names_the_right_that_it_was_given_for() -> None:
    claims = dataclasses.replace(CLAIMS, right="right-1")
    assert verify(KEY, mint(KEY, claims).encode(), "eia-1", 999.0) == claims


def test_the_control_planes_own_token_names_none() -> None:
    _, body, _ = mint(KEY, CLAIMS).split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert said == {"acc": "eia-1", "ins": "i-1", "own": "default", "exp": 1000.0}
    assert verify(KEY, mint(KEY, CLAIMS).encode(), "eia-1", 999.0).right == ""


@pytest.mark.parametrize(
    ("key", "accelerator_id", "now", "why"),
    [
        (KEY, "eia-2", 999.0, "another accelerator"),
        (KEY, "eia-1", 1000.0, "expired"),
        (bytes(32), "eia-1", 999.0, "not valid for this accelerator"),
    ],
)
def test_refused(key: bytes, accelerator_id: str, now: float, why: str) -> None:
    with pytest.raises(AuthenticationError, match=why) as caught:
        verify(key, mint(KEY, CLAIMS).encode(), accelerator_id, now)
    assert caught.value.ei_code == (3, 16, 8)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(AuthenticationError):
        verify(KEY, noise, "eia-1", 0.0)


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    token = bytearray(mint(KEY, CLAIMS).encode())
    at = data.draw(st.integers(0, len(token) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != token[at]))
    token[at] = new
    with pytest.raises(AuthenticationError):
        verify(KEY, bytes(token), "eia-1", 999.0)
