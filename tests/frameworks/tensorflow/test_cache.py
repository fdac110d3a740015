"""Plans are kept whole, found again, made by one at a time, and bounded."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from elastic_inference.errors import ModelFormatError, NotFoundError
from elastic_inference.frameworks.tensorflow.cache import Cache, key_of, versions
from elastic_inference.frameworks.tensorflow.plan import DOCUMENT, Plan, Segment
from elastic_inference.frameworks.tensorflow.source import Source

KEYS = [character * 64 for character in "abc"]


def _put(cache: Cache, key: str, size: int = 10) -> Plan:
    with cache.lock(key):
        folder = cache.new_folder()
        (folder / "0.onnx").write_bytes(b"x" * size)
        segment = Segment("accelerator", "onnx", "0.onnx", (), ())
        Plan(folder, {}, {}, "", (segment,)).write()
        return cache.keep(folder, key)


def _model(folder: Path, weights: bytes = b"weights") -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(weights)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "plans", 10_000)


def test_a_plan_is_found_again(cache: Cache) -> None:
    assert cache.find(KEYS[0]) is None
    made = _put(cache, KEYS[0])
    assert made.folder == cache.path(KEYS[0])
    assert cache.find(KEYS[0]) == made


def test_a_damaged_plan_is_not_found_and_is_replaced(cache: Cache) -> None:
    made = _put(cache, KEYS[0])
    (made.folder / "0.onnx").unlink()
    assert cache.find(KEYS[0]) is None
    assert cache.find(KEYS[0]) != _put(cache, KEYS[0]) == cache.find(KEYS[0])


def test_one_makes_a_plan_and_others_wait(cache: Cache) -> None:
    inside, waiting, seen = threading.Event(), threading.Event(), []

    def wait() -> None:
        waiting.set()
        with cache.lock(KEYS[0]):
            seen.append(cache.find(KEYS[0]) is not None)

    def make() -> None:
        with cache.lock(KEYS[0]):
            inside.set()
            assert waiting.wait(30)
            folder = cache.new_folder()
            Plan(folder, {}, {}, "", ()).write()
            cache.keep(folder, KEYS[0])

    maker = threading.Thread(target=make)
    maker.start()
    assert inside.wait(30)
    others = [threading.Thread(target=wait) for _ in range(3)]
    for each in (*others,):
        each.start()
    for each in (maker, *others):
        each.join(30)
    assert seen == [True] * 3


def test_another_plan_does_not_wait(cache: Cache) -> None:
    with cache.lock(KEYS[0]), cache.lock(KEYS[1]):
        assert cache.find(KEYS[1]) is None


def test_a_lock_is_free_after_an_error(cache: Cache) -> None:
    with pytest.raises(ZeroDivisionError), cache.lock(KEYS[0]):
        raise ZeroDivisionError
    assert _put(cache, KEYS[0])


def test_plans_that_were_not_used_for_longest_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 5_000)
    for age, key in ((200, KEYS[0]), (100, KEYS[1])):
        made = _put(cache, key, 2_000)
        moment = made.folder.stat().st_mtime - age
        os.utime(made.folder / DOCUMENT, (moment, moment))
    assert cache.find(KEYS[0])
    _put(cache, KEYS[2], 2_000)
    assert [cache.find(key) is not None for key in KEYS] == [True, False, True]


def test_a_plan_that_is_larger_than_the_cache_stays_until_the_next(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1_000)
    assert _put(cache, KEYS[0], 5_000)
    assert cache.find(KEYS[0])


def _moved(model: Path) -> Source:
    return Source(model.rename(model.with_name("moved")))


def _other_weights(model: Path) -> Source:
    (model / "variables" / "variables.index").write_bytes(b"others!")
    return Source(model)


def _asset(model: Path) -> Source:
    (model / "assets").mkdir()
    (model / "assets" / "words.txt").write_text("a\n")
    return Source(model)


def _warmup(model: Path) -> Source:
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "tf_serving_warmup_requests").write_text("a\n")
    return Source(model)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (_moved, True),
        (_warmup, True),
        (_other_weights, False),
        (_asset, False),
        (lambda model: Source(model, signature="other"), False),
        (lambda model: Source(model, tags=("serve", "gpu")), False),
        (lambda model: Source(model, inputs={"x": "x:0"}, outputs={"y": "y:0"}), False),
    ],
)
def test_a_key_tells_what_a_plan_depends_on(
    tmp_path: Path, change: Callable[[Path], Source], same: bool
) -> None:
    model = _model(tmp_path / "model")
    before = key_of(Source(model), {"tf2onnx": "1"})
    assert (key_of(change(model), {"tf2onnx": "1"}) == before) is same


def test_another_converter_makes_another_plan(tmp_path: Path) -> None:
    source = Source(_model(tmp_path / "model"))
    assert key_of(source, {"tf2onnx": "1"}) != key_of(source, {"tf2onnx": "2"})
    assert {"onnx", "tf2onnx", "onnxruntime"} <= versions().keys()


def test_what_is_no_model_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"saved_model\.pb"):
        key_of(Source(tmp_path / "nothing"), {})
    (tmp_path / "empty.pb").touch()
    with pytest.raises(ModelFormatError, match="empty"):
        key_of(Source(tmp_path / "empty.pb"), {})
