"""TFLOPS that were measured, and how they are remembered."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from elastic_inference.accelerator.devices import Device, discover
from elastic_inference.fleet.measurements import FILE_NAME, Measurements
from tests.fleet.watched import Watched
from tests.pools import PATIENCE

CPU = Device("cpu", "cpu", "a processor", 1 << 30, cores=2)
CARD = Device("cuda:0", "cuda", "a card", 1 << 30, driver="570.86")
Started = Callable[[subprocess.Popen[bytes]], None]


def never(device: Device, _: Started) -> float:
    raise AssertionError(f"{device.id} is measured again")


def test_this_machine_is_measured_once(tmp_path: Path) -> None:
    cpu = discover()[-1]
    first = Measurements(tmp_path)
    assert first.known(cpu) is None
    found = first.get(cpu)
    assert found is not None
    assert found > 0
    assert Measurements(tmp_path, never).get(cpu) == found


def test_it_is_remembered_by_what_would_change_it(tmp_path: Path) -> None:
    figures = iter((0.1, 50.0))
    measured = Measurements(tmp_path, lambda *_: next(figures))
    assert (measured.get(CPU), measured.get(CARD)) == (0.1, 50.0)
    remembered = json.loads((tmp_path / FILE_NAME).read_text())
    assert remembered == {"a processor, 2 cores": 0.1, "a card, 570.86": 50.0}
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a processor, 2 cores": "fast"}', "{}"])
def test_a_file_that_says_nothing_is_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert Measurements(tmp_path, lambda *_: 0.1).get(CPU) == 0.1
    assert Measurements(tmp_path, never).get(CPU) == 0.1


@pytest.mark.parametrize("value", [0, -1, 1e300, True, None])
def test_a_figure_that_cannot_be_is_not_believed(tmp_path: Path, value: object) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"a processor, 2 cores": value}))
    assert Measurements(tmp_path).known(CPU) is None


def test_where_it_cannot_be_measured_nothing_is_known(tmp_path: Path) -> None:
    def fail(*_: object) -> float:
        raise ValueError("no such device")

    assert Measurements(tmp_path, fail).get(CARD) is None
    assert not (tmp_path / FILE_NAME).exists()


def test_where_it_cannot_be_written_down_it_is_known_all_the_same(tmp_path: Path) -> None:
    measured = Measurements(tmp_path / "none", lambda *_: 0.1)
    assert measured.get(CPU) == measured.known(CPU) == 0.1


def test_in_the_background_once(tmp_path: Path) -> None:
    go = threading.Event()
    asked = []

    def slowly(device: Device, _: Started) -> float:
        asked.append(device)
        assert go.wait(PATIENCE)
        return 0.1

    measured = Measurements(tmp_path, slowly)
    measured.begin([CPU])
    measured.begin([CPU])
    assert measured.known(CPU) is None
    go.set()
    while measured.known(CPU) is None:
        pass
    measured.close()
    assert asked == [CPU]


def test_closing_ends_what_is_measured(tmp_path: Path) -> None:
    begun = threading.Event()

    def endless(_: Device, started: Started) -> float:
        with subprocess.Popen(["sleep", "1000"]) as child:
            started(child)
            begun.set()
        raise ValueError("it was ended")

    measured = Measurements(tmp_path, endless)
    measured.begin([CPU])
    assert begun.wait(PATIENCE)
    measured.close()
    measured.close()
    assert measured.get(CPU) is None


def test_a_fleet_tells_it_once_somebody_asked(make: Callable[..., Watched]) -> None:
    fleet = make(outlive=True)
    assert not (fleet.state / FILE_NAME).exists()
    end = time.monotonic() + PATIENCE
    while (found := fleet.fleet.nodes()[0].devices[0].measured_tflops) is None:
        assert time.monotonic() < end
    assert found > 0
    assert fleet.fleet.nodes()[0].best_effort
