from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.errors import (
    InvalidRequestError,
    ModelFormatError,
    UnavailableError,
)
from elastic_inference.protocol.tensors import Array
from elastic_inference.protocol.wireformat import submessage
from elastic_inference.serving import records
from elastic_inference.serving.service import CLASSIFY, REGRESS
from elastic_inference.serving.warmup import FILE, MOST_RECORDS, warm_up
from tests.serving.versions import FakeServable


class Recording(FakeServable):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None,
    ) -> dict[str, Array]:
        del deadline
        if self.error is not None:
            raise self.error
        values = {key: array.tolist() for key, array in inputs.items()}
        self.asked.append(("predict", signature, values, list(outputs)))
        return {}

    def classify(
        self, signature: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[list[tuple[str, float]]]:
        del deadline
        self.asked.append(("classify", signature, list(examples)))
        return []

    def regress(
        self, signature: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[float]:
        del deadline
        self.asked.append(("regress", signature, list(examples)))
        return []


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return b"".join(
        (
            *(length, struct.pack("<I", records.checksum(length))),
            *(data, struct.pack("<I", records.checksum(data))),
        )
    )


def _write(folder: Path, *all_data: bytes) -> Path:
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(map(_record, all_data)))
    return path


def _spec(signature: str = "") -> bytes:
    return submessage(
        1, submessage(1, b"m") + (submessage(3, signature.encode()) if signature else b"")
    )


def _predict(*values: float, signature: str = "") -> bytes:
    shape = submessage(2, submessage(2, b"\x08" + bytes([len(values)])))
    tensor = b"\x08\x01" + shape + submessage(5, np.asarray(values, np.float32).tobytes())
    inputs = submessage(2, submessage(1, b"x") + submessage(2, tensor))
    return submessage(6, submessage(1, _spec(signature) + inputs + submessage(3, b"y")))


_INPUT = submessage(2, submessage(1, submessage(1, b"an example")))


def _task(signature: str, method: str) -> bytes:
    return submessage(1, _spec(signature) + submessage(2, method.encode()))


def test_every_kind_of_log_is_run_for_its_signature(tmp_path: Path) -> None:
    multi = _task("c", CLASSIFY) + _task("r", REGRESS) + _INPUT
    _write(
        tmp_path,
        _predict(1, 2),
        _predict(3, signature="other"),
        submessage(2, submessage(1, _spec("c") + _INPUT)),
        submessage(3, submessage(1, _spec("r") + _INPUT)),
        submessage(4, submessage(1, multi)),
        submessage(1, b""),
    )
    servable = Recording()
    assert warm_up(servable, tmp_path) == 6
    assert servable.asked == [
        ("predict", "serving_default", {"x": [1, 2]}, ["y"]),
        ("predict", "other", {"x": [3]}, ["y"]),
        ("classify", "c", [b"an example"]),
        ("regress", "r", [b"an example"]),
        ("classify", "c", [b"an example"]),
        ("regress", "r", [b"an example"]),
    ]


def test_iterations(tmp_path: Path) -> None:
    _write(tmp_path, _predict(1))
    servable = Recording()
    assert warm_up(servable, tmp_path, 3) == 1
    assert len(servable.asked) == 3


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert warm_up(Recording(), tmp_path) == 0


def test_a_request_that_fails_fails_the_version_and_says_which(tmp_path: Path) -> None:
    path = _write(tmp_path, _predict(1))
    servable = Recording()
    servable.error = InvalidRequestError("no such thing")
    with pytest.raises(ModelFormatError, match=f"Warm-up record 1 of {path} failed: no such thing"):
        warm_up(servable, tmp_path)
    servable.error = UnavailableError("lost")
    with pytest.raises(UnavailableError, match="lost"):
        warm_up(servable, tmp_path)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (submessage(5, b""), "is a session_run_log, which is not supported"),
        (submessage(7, b""), "is a predict_streamed_log"),
        (b"\xff", "is no PredictionLog"),
        (submessage(6, submessage(1, b"\xff\xff")), "record 1 of"),
    ],
)
def test_records_that_are_none(tmp_path: Path, data: bytes, why: str) -> None:
    _write(tmp_path, data)
    with pytest.raises(ModelFormatError, match=why):
        warm_up(Recording(), tmp_path)


def test_too_many_records(tmp_path: Path) -> None:
    _write(tmp_path, *[b""] * (MOST_RECORDS + 1))
    with pytest.raises(ModelFormatError, match="exceeds the maximum"):
        warm_up(Recording(), tmp_path)


def test_the_checksum_is_crc_32c() -> None:
    def plain(data: bytes) -> int:
        value = (records.checksum(data) - 0xA282EAD8) & 0xFFFFFFFF
        return (value >> 17 | value << 15) & 0xFFFFFFFF

    assert plain(b"123456789") == 0xE3069283
    assert plain(bytes(32)) == 0x8A9136AA


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_damage_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("records", numbered=True)
    contents = data.draw(st.lists(st.binary(max_size=20), min_size=1, max_size=3))
    path = _write(folder, *contents)
    assert list(records.read(path, 100)) == contents
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
        with pytest.raises(ModelFormatError, match="TFRecord format"):
            list(records.read(path, 100))
    else:
        path.write_bytes(whole[:at])
        # What ends between records is a shorter file, and no damage that can be seen.
        ends = {sum(16 + len(each) for each in contents[:count]) for count in range(4)}
        if at not in ends:
            with pytest.raises(ModelFormatError, match="is cut off"):
                list(records.read(path, 100))


def test_a_record_is_bounded(tmp_path: Path) -> None:
    path = _write(tmp_path, b"x" * 101)
    with pytest.raises(ModelFormatError, match="a record has 101 bytes, more than 100"):
        list(records.read(path, 100))


@pytest.mark.slow
def test_tensorflow_writes_what_is_read(tmp_path: Path) -> None:
    import tensorflow as tf

    path = tmp_path / "records"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"one")
        writer.write(b"")
    assert list(records.read(path, 100)) == [b"one", b""]
