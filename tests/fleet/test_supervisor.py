"""The supervisor with stand-ins for accelerators, which fail as real ones rarely do."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from elastic_inference.errors import UnavailableError
from elastic_inference.fleet.base import Health
from elastic_inference.fleet.resident import Resident
from elastic_inference.fleet.supervisor import Supervisor
from elastic_inference.settings import PoolSettings
from tests.pools import PATIENCE

OK, IMPAIRED, UNKNOWN = Health.OK, Health.IMPAIRED, Health.UNKNOWN
WELL = {"live": True, "inference": "ok", "device": "ok"}
ILL = WELL | {"inference": "failed", "error": "The engine computes wrongly: 1."}


class _Control:
    """A connection to a process that there is not."""

    def __init__(self, *, greeted: bool) -> None:
        self.greeted = greeted
        self._ours, self._theirs = socket.socketpair()

    def fileno(self) -> int:
        return self._ours.fileno()

    def ended(self) -> bool:
        return self._ours.recv(1) == b""

    def kill(self) -> None:
        self._theirs.close()

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class _Resident:
    """Answers probes as the test says: `says` is the report, or b"" for silence."""

    id = "eia-1"

    def __init__(self, directory: Path) -> None:
        self.data_socket = directory / "data.sock"
        self.says: Any = WELL
        self.starts: queue.Queue[str] = queue.Queue()
        self.refuses: Exception | None = None
        self.control: _Control | None = None
        self.stopping = False
        self.health = UNKNOWN
        self.reason = ""
        self.reachable = True
        self.memory_used: int | None = None
        self.restarts = self.failures = 0
        self.up_since = 0.0
        self.asked = threading.Semaphore(0)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.data_socket))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def connect(self, *, greeted: bool = True) -> None:
        self.control = _Control(greeted=greeted)

    def start(self) -> None:
        if self.control is not None:
            self.control.close()
            self.control = None
        self.starts.put("start")
        if self.refuses is not None:
            raise self.refuses
        self.connect()

    def tell(self) -> None:
        pass

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                if self.says:
                    body = json.dumps(self.says).encode()
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            self.asked.release()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        if self.control is not None:
            self.control.close()


class Ward:
    """A supervisor with one patient."""

    def __init__(self, directory: Path) -> None:
        self.patient = _Resident(directory)
        self.resident = cast("Resident", self.patient)
        self.seen: queue.Queue[tuple[Health, str]] = queue.Queue()
        self.moves: queue.Queue[str] = queue.Queue()
        self.moved: Callable[[], bool] = lambda: True
        settings = PoolSettings(health_interval=0.01, hang_timeout=PATIENCE, move_after=2)
        self.supervisor = Supervisor(settings, self._changed, self._move)

    def _changed(self, resident: Resident) -> None:
        self.seen.put((resident.health, resident.reason))

    def _move(self, _: Resident) -> bool:
        self.patient.starts.put("move")
        return self.moved()

    def next(self) -> tuple[Health, str]:
        return self.seen.get(timeout=PATIENCE)

    def started(self) -> str:
        return self.patient.starts.get(timeout=PATIENCE)

    def close(self) -> None:
        self.supervisor.close()
        self.patient.close()


@pytest.fixture
def ward(short_path: Path) -> Iterator[Ward]:
    made = Ward(short_path)
    yield made
    made.close()


def test_one_that_serves_is_well_and_stays_so(ward: Ward) -> None:
    ward.patient.connect()
    ward.supervisor.follow(ward.resident)
    assert ward.next() == (OK, "")
    for _ in range(5):
        assert ward.patient.asked.acquire(timeout=PATIENCE)
    assert ward.seen.empty()


def test_one_that_was_not_heard_yet_is_unknown_until_it_answers(ward: Ward) -> None:
    ward.patient.connect(greeted=False)
    assert ward.patient.health is UNKNOWN
    ward.supervisor.follow(ward.resident)
    assert ward.next() == (OK, "")


def test_a_failing_inference_makes_it_impaired_then_it_is_started_again(ward: Ward) -> None:
    ward.patient.connect()
    ward.supervisor.follow(ward.resident)
    assert ward.next()[0] is OK
    ward.patient.says = ILL
    why = "its inference check failed: The engine computes wrongly: 1"
    assert ward.next() == (IMPAIRED, why)
    assert ward.patient.reachable
    assert ward.started() == "start"
    assert ward.patient.reason == why
    ward.patient.says = WELL
    assert ward.next() == (OK, "")


def test_one_that_starts_but_does_not_infer_is_moved_and_never_shown_well(ward: Ward) -> None:
    ward.patient.connect()
    ward.supervisor.follow(ward.resident)
    assert ward.next()[0] is OK
    ward.patient.says = ILL
    assert ward.next()[0] is IMPAIRED
    # Ended twice for its checks, then moved.
    assert [ward.started() for _ in range(3)] == ["start", "move", "start"]
    # In its new place it is asked as well, before it is said to be well.
    ward.patient.asked = threading.Semaphore(0)
    assert ward.patient.asked.acquire(timeout=PATIENCE)
    assert ward.seen.empty()
    ward.patient.says = WELL
    assert ward.next() == (OK, "")


def test_one_that_does_not_start_in_its_place_is_moved(ward: Ward) -> None:
    ward.patient.refuses = UnavailableError("It did not start.")
    ward.supervisor.revive(ward.resident)
    assert ward.next() == (IMPAIRED, "it has ended and is started again")
    assert [ward.started() for _ in range(4)] == ["start", "start", "move", "start"]
    ward.patient.refuses = None
    assert ward.next()[0] is OK


def test_a_full_disk_is_no_reason_to_move(ward: Ward) -> None:
    refusal = UnavailableError("It did not start.")
    refusal.__cause__ = OSError("disk full")
    ward.patient.refuses = refusal
    ward.supervisor.revive(ward.resident)
    assert [ward.started() for _ in range(4)] == ["start"] * 4


def test_where_there_is_no_other_place_it_is_tried_again_in_its_own(ward: Ward) -> None:
    ward.moved = lambda: False
    ward.patient.refuses = UnavailableError("It did not start.")
    ward.supervisor.revive(ward.resident)
    assert [ward.started() for _ in range(4)] == ["start", "start", "move", "start"]


def test_a_lost_device_is_not_waited_for(ward: Ward) -> None:
    ward.patient.connect()
    ward.supervisor.follow(ward.resident)
    assert ward.next()[0] is OK
    ward.patient.says = WELL | {"device": "CUDA failure 700"}
    assert ward.next() == (IMPAIRED, "its device failed: CUDA failure 700")
    assert ward.started() == "start"
    ward.patient.says = WELL
    assert ward.next()[0] is OK


def test_one_that_answers_nothing_is_impaired(ward: Ward) -> None:
    ward.patient.connect()
    ward.supervisor.follow(ward.resident)
    assert ward.next()[0] is OK
    ward.patient.says = b""
    assert ward.next() == (IMPAIRED, "it does not answer")
    assert (ward.patient.reachable, ward.patient.memory_used) == (False, None)
    ward.patient.says = WELL | {"memoryUsed": 5 << 20}
    assert ward.next() == (OK, "")
    assert (ward.patient.reachable, ward.patient.memory_used) == (True, 5 << 20)


def test_one_that_comes_and_goes_is_shown_well_only_when_it_stays_so(ward: Ward) -> None:
    ward.patient.connect()
    ward.supervisor.follow(ward.resident)
    for says, health in ((b"", IMPAIRED), (WELL, OK), (b"", IMPAIRED)):
        ward.patient.says = says
        while ward.next()[0] is not health:
            pass
    ward.patient.says = WELL
    while "again and again" not in ward.patient.reason:
        assert ward.patient.asked.acquire(timeout=PATIENCE)
    assert ward.patient.health is IMPAIRED


def test_where_the_supervisor_cannot_look_nothing_is_known(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.patient.connect()
    ward.supervisor.follow(ward.resident)
    assert ward.next()[0] is OK
    real = socket.socket

    def refused(*arguments: Any, **more: Any) -> socket.socket:
        if threading.current_thread().name == "supervisor":
            raise OSError(24, "Too many open files")
        return real(*arguments, **more)

    monkeypatch.setattr("elastic_inference.fleet.supervisor.socket.socket", refused)
    health, reason = ward.next()
    assert health is UNKNOWN
    assert "Too many open files" in reason
    monkeypatch.undo()
    assert ward.next() == (OK, "")
