"""When an accelerator was last known to live."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from elastic_inference.accelerator.heartbeat import Heart
from elastic_inference.fleet.base import Health
from elastic_inference.fleet.heartbeat import last_beat
from elastic_inference.protocol.host import boot_id
from tests.fleet.watched import Watched
from tests.pools import PATIENCE, gone, held

Make = Callable[..., Watched]
BOOT = "01234567-89ab-cdef-0123-456789abcdef"


def test_it_is_known_while_it_runs_and_after_its_end(make: Make) -> None:
    fleet = make(outlive=True)
    order = fleet.order()
    assert fleet.fleet.last_alive(order.placement) is None
    before = time.monotonic()
    fleet.fleet.start(order)
    first = fleet.fleet.last_alive(order.placement)
    assert first is not None
    # Records have milliseconds.
    assert before - 0.001 <= first <= time.monotonic()
    while fleet.fleet.last_alive(order.placement) == first:
        pass
    with held(fleet.pid(order)) as process:
        fleet.fleet.close()
        signal.pidfd_send_signal(process, signal.SIGKILL)
        assert gone(process)
    ended = time.monotonic()
    second = make(outlive=True)
    known = second.fleet.last_alive(order.placement)
    assert known is not None
    assert first < known <= ended
    assert not second.fleet.adopt(order)
    assert second.fleet.last_alive(order.placement) == known
    second.fleet.revive(order)
    second.until(order, Health.OK)
    revived = second.fleet.last_alive(order.placement)
    assert revived is not None
    assert revived > ended
    second.fleet.stop([order.accelerator_id], PATIENCE)
    assert second.fleet.last_alive(order.placement) is None


def test_a_stopped_process_does_not_note_that_it_lives(make: Make) -> None:
    fleet = make(hang_timeout=PATIENCE)
    order = fleet.order()
    fleet.fleet.start(order)
    pid = fleet.pid(order)
    os.kill(pid, signal.SIGSTOP)
    fleet.until(order, Health.IMPAIRED)
    stopped = fleet.fleet.last_alive(order.placement)
    fleet.changes.queue.clear()
    os.kill(pid, signal.SIGCONT)
    fleet.until(order, Health.OK)
    while fleet.fleet.last_alive(order.placement) == stopped:
        pass


def test_what_was_noted_in_another_boot_is_not_known(tmp_path: Path) -> None:
    Heart(tmp_path).beat()
    assert last_beat(tmp_path, boot_id()) is not None
    assert last_beat(tmp_path, BOOT) is None


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"x",
        b"\0" * 64,
        f"{BOOT} 1.000".encode(),
        f"{BOOT} -1.000".ljust(63).encode() + b"\n",
        f"{BOOT} nan".ljust(63).encode() + b"\n",
    ],
)
def test_what_is_no_record_is_not_known(tmp_path: Path, record: bytes) -> None:
    (tmp_path / "alive").write_bytes(record)
    assert last_beat(tmp_path, BOOT) is None


def test_nobody_lives_in_the_future(tmp_path: Path) -> None:
    (tmp_path / "alive").write_bytes(f"{BOOT} 999999999999.000".ljust(63).encode() + b"\n")
    known = last_beat(tmp_path, BOOT)
    assert known is not None
    assert known <= time.monotonic()


def test_no_other_file_is_read_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(f"{BOOT} 1.000".ljust(63).encode() + b"\n")
    (tmp_path / "alive").symlink_to("other")
    assert last_beat(tmp_path, BOOT) is None
    (tmp_path / "alive").unlink()
    os.mkfifo(tmp_path / "alive")
    assert last_beat(tmp_path, BOOT) is None


def test_a_place_that_takes_no_notes_is_no_reason_to_end(tmp_path: Path) -> None:
    heart = Heart(tmp_path / "none")
    heart.beat()
    (tmp_path / "none").mkdir()
    heart.beat()
    assert last_beat(tmp_path / "none", boot_id()) is not None
