"""What a probe's answer says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.fleet.probe import Finding, read


def answer(document: object, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nA: b\r\n\r\n" % status + json.dumps(document).encode()


WELL = {"live": True, "inference": "ok", "device": "ok"}


@pytest.mark.parametrize(
    "raw",
    [
        answer(WELL),
        answer({"error": "too many connections", "kind": "limit-exceeded"}, 429),
        answer({"live": True}),
        answer([]),
        b"HTTP/1.1 200 OK\r\n\r\n{",
        b"HTTP/1.1 ",
    ],
)
def test_any_answer_is_life(raw: bytes) -> None:
    assert read(raw) == Finding(alive=True)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.0 200 OK\r\n\r\n{}", b"?" * 9000])
def test_anything_else_is_none(raw: bytes) -> None:
    assert read(raw) == Finding(alive=False)


def test_a_failed_inference_is_told() -> None:
    said = WELL | {"inference": "failed", "error": "The engine computes\nwrongly: \x1b[31m1."}
    trouble = "its inference check failed: The engine computes wrongly: [31m1"
    assert read(answer(said, 503)) == Finding(alive=True, trouble=trouble)
    assert "does not say why" in read(answer(WELL | {"inference": None})).trouble


def test_a_failed_device_is_lost() -> None:
    said = WELL | {"device": "CUDA failure 700", "inference": "failed", "error": "x"}
    trouble = "its device failed: CUDA failure 700"
    assert read(answer(said, 503)) == Finding(alive=True, trouble=trouble, lost=True)


def test_the_memory_in_use_is_told_whatever_else_is() -> None:
    assert read(answer(WELL | {"memoryUsed": 5 << 20})).memory_used == 5 << 20
    ill = WELL | {"inference": "failed", "memoryUsed": 0}
    assert read(answer(ill, 503)).memory_used == 0


@pytest.mark.parametrize("said", [None, True, "5", 5.0, -1, 1 << 60, 1 << 70, [5]])
def test_what_is_no_memory_is_none(said: object) -> None:
    assert read(answer(WELL | {"memoryUsed": said})) == Finding(alive=True)


@given(st.binary(max_size=300))
def test_noise_does_no_harm(noise: bytes) -> None:
    assert len(read(b"HTTP/1.1 200 OK\r\n\r\n" + noise).trouble) < 400
