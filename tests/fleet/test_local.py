"""The local fleet with real accelerator processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from elastic_inference.catalog import MIB, Catalog
from elastic_inference.errors import (
    ConfigurationError,
    InsufficientCapacityError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.fleet.base import Health, Status
from elastic_inference.fleet.resident import device_environment
from tests.fleet.watched import ACCOUNT, Watched
from tests.pools import PATIENCE, gone, held, open_files

Make = Callable[..., Watched]


def test_a_started_accelerator_serves_and_a_stopped_one_leaves_nothing(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    assert fleet.ask(order)["accelerator_id"] == order.accelerator_id
    assert fleet.fleet.status(order.accelerator_id) == Status(Health.OK, 0)
    with held(fleet.pid(order)) as process:
        fleet.fleet.stop([order.accelerator_id], PATIENCE)
        assert gone(process)
    assert list((fleet.state / "run").iterdir()) == []
    assert fleet.fleet.status(order.accelerator_id).health is Health.UNKNOWN
    with pytest.raises(NotFoundError):
        fleet.ask(order)
    fleet.fleet.stop([order.accelerator_id], PATIENCE)


def test_a_killed_accelerator_is_started_again_in_its_place(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    assert fleet.next_change() == (order.accelerator_id, Health.OK)
    pid = fleet.pid(order)
    os.kill(pid, signal.SIGKILL)
    assert fleet.next_change() == (order.accelerator_id, Health.IMPAIRED)
    assert fleet.next_change() == (order.accelerator_id, Health.OK)
    assert fleet.fleet.status(order.accelerator_id) == Status(Health.OK, 1)
    assert fleet.ask(order)["accelerator_id"] == order.accelerator_id
    assert fleet.pid(order) != pid


def test_a_frozen_accelerator_is_impaired_then_ended_and_started_again(make: Make) -> None:
    fleet = make(hang_timeout=1.0)
    order = fleet.order()
    fleet.fleet.start(order)
    assert fleet.next_change() == (order.accelerator_id, Health.OK)
    with held(fleet.pid(order)) as process:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        assert fleet.next_change() == (order.accelerator_id, Health.IMPAIRED)
        assert gone(process)
    assert fleet.next_change() == (order.accelerator_id, Health.OK)
    assert fleet.fleet.status(order.accelerator_id).restarts == 1


def test_one_that_is_slow_for_a_moment_is_impaired_and_recovers(make: Make) -> None:
    fleet = make(hang_timeout=PATIENCE)
    order = fleet.order()
    fleet.fleet.start(order)
    assert fleet.next_change() == (order.accelerator_id, Health.OK)
    with held(fleet.pid(order)) as process:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        assert fleet.next_change() == (order.accelerator_id, Health.IMPAIRED)
        signal.pidfd_send_signal(process, signal.SIGCONT)
    assert fleet.next_change() == (order.accelerator_id, Health.OK)
    assert fleet.fleet.status(order.accelerator_id).restarts == 0


def test_a_fleet_that_is_closed_amid_a_probe_leaves_no_socket(make: Make) -> None:
    before = open_files(os.getpid())
    fleet = make(outlive=True, hang_timeout=PATIENCE)
    order = fleet.order()
    fleet.fleet.start(order)
    assert fleet.next_change() == (order.accelerator_id, Health.OK)
    with held(fleet.pid(order)) as process:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        # From here on a probe follows another, and none is answered.
        assert fleet.next_change() == (order.accelerator_id, Health.IMPAIRED)
        fleet.fleet.close()
        signal.pidfd_send_signal(process, signal.SIGCONT)
    left = set(open_files(os.getpid())) - set(before)
    assert [each for each in left if each.startswith("socket:")] == []


def test_accelerators_that_outlive_a_fleet_are_adopted_by_the_next(make: Make) -> None:
    first = make(outlive=True)
    order = first.order()
    first.fleet.start(order)
    pid = first.pid(order)
    first.fleet.close()
    second = make(outlive=True)
    assert second.fleet.adopt(order)
    assert second.next_change() == (order.accelerator_id, Health.OK)
    assert second.pid(order) == pid
    assert second.ask(order)["accelerator_id"] == order.accelerator_id
    os.kill(pid, signal.SIGKILL)
    assert second.next_change() == (order.accelerator_id, Health.IMPAIRED)
    assert second.next_change() == (order.accelerator_id, Health.OK)
    assert not second.fleet.adopt(second.order(number=2))


def test_one_that_has_ended_is_revived_even_if_that_fails_at_first(make: Make) -> None:
    fleet = make(outlive=True)
    order = fleet.order()
    assert not fleet.fleet.adopt(order)
    obstacle = fleet.state / "accounts"
    obstacle.write_text("no directory")
    fleet.fleet.revive(order)
    assert fleet.next_change() == (order.accelerator_id, Health.IMPAIRED)
    obstacle.unlink()
    assert fleet.next_change() == (order.accelerator_id, Health.OK)
    assert fleet.ask(order)["accelerator_id"] == order.accelerator_id


def test_what_nobody_adopts_is_swept_away(make: Make) -> None:
    first = make(outlive=True)
    order = first.order()
    first.fleet.start(order)
    with held(first.pid(order)) as process:
        first.fleet.close()
        make(outlive=True).fleet.sweep()
        assert gone(process)
    assert list((first.state / "run").iterdir()) == []


def test_accelerators_end_with_a_fleet_that_they_shall_not_outlive(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    with held(fleet.pid(order)) as process:
        fleet.fleet.close()
        assert gone(process)


def test_one_that_is_not_ready_in_time_leaves_nothing(make: Make) -> None:
    fleet = make(start_timeout=0.001, node_memory=1024 * MIB)
    with pytest.raises(UnavailableError, match="not ready in time"):
        fleet.fleet.start(fleet.order())
    assert list((fleet.state / "run").iterdir()) == []
    # The whole node is free again.
    assert fleet.fleet.place(Catalog().get("eia1.medium"))


def test_one_that_cannot_start_says_why(make: Make) -> None:
    fleet = make()
    (fleet.state / "accounts").mkdir()
    (fleet.state / "accounts" / ACCOUNT).write_text("no directory")
    with pytest.raises(UnavailableError, match=ACCOUNT):
        fleet.fleet.start(fleet.order())
    assert list((fleet.state / "run").iterdir()) == []


def test_a_node_has_room_for_its_memory_and_no_more(make: Make) -> None:
    fleet = make(node_memory=3 * 1024 * MIB).fleet
    catalog = Catalog()
    first = fleet.place(catalog.get("eia1.large"))
    fleet.place(catalog.get("eia1.medium"))
    with pytest.raises(InsufficientCapacityError, match="has 0 MiB"):
        fleet.place(catalog.get("eia1.medium"))
    fleet.release(first)
    fleet.release(first)
    fleet.place(catalog.get("eia1.large"))
    with pytest.raises(InsufficientCapacityError):
        fleet.place(catalog.get("eia1.medium"))


def test_threads_follow_the_share_of_the_nodes_compute(make: Make) -> None:
    cores = len(os.sched_getaffinity(0))
    fleet = make(virtual_tflops=4.0).fleet
    whole = fleet.place(Catalog().get("eia1.xlarge"))
    assert whole.threads == cores
    fleet.release(whole)
    assert fleet.place(Catalog().get("eia1.medium")).threads == max(1, cores // 4)


def test_nothing_of_the_pools_environment_reaches_an_accelerator(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EI_RUN", "AWS_SECRET_ACCESS_KEY", "PYTHONSTARTUP", "SSLKEYLOGFILE", "OTHER"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    environ = Path(f"/proc/{fleet.pid(order)}/environ").read_bytes()
    assert b"leaked" not in environ
    assert b"LC_ALL=C.UTF-8" in environ


def test_an_accelerator_inherits_no_listener(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        inode = f"socket:[{os.fstat(listener.fileno()).st_ino}]"
        fleet = make()
        order = fleet.order()
        fleet.fleet.start(order)
        inherited = open_files(fleet.pid(order))
        assert inherited
        assert inode not in inherited


def test_a_directory_without_room_for_socket_names_is_refused(short_path: Path) -> None:
    long = short_path / ("d" * 80)
    long.mkdir()
    with pytest.raises(ConfigurationError, match="too long"):
        Watched(long)


def test_a_gpu_share_is_cut_by_mps_where_its_daemon_runs(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order = make().order()
    placement = dataclasses.replace(order.placement, device="cuda:2", percentage=25)
    order = dataclasses.replace(order, placement=placement)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    card = {"CUDA_VISIBLE_DEVICES": "2", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert device_environment(order) == card
    (tmp_path / "control").touch()
    assert device_environment(order) == card | {
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=1024M",
    }


def test_one_that_does_not_answer_a_new_fleet_is_adopted(make: Make) -> None:
    """It may only be slow: what it computes, and who is connected to it, is not lost."""
    first = make(outlive=True)
    order = first.order()
    first.fleet.start(order)
    pid = first.pid(order)
    first.fleet.close()
    os.kill(pid, signal.SIGSTOP)
    try:
        second = make(outlive=True)
        assert second.fleet.adopt(order)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert second.pid(order) == pid
    assert second.ask(order)["accelerator_id"] == order.accelerator_id


def test_one_that_hung_before_a_new_fleet_came_is_started_again(make: Make) -> None:
    first = make(outlive=True)
    order = first.order()
    first.fleet.start(order)
    pid = first.pid(order)
    first.fleet.close()
    with held(pid) as process:
        os.kill(pid, signal.SIGSTOP)
        second = make(outlive=True, hang_timeout=1.0)
        assert second.fleet.adopt(order)
        assert gone(process)
    second.until(order, Health.IMPAIRED)
    second.until(order, Health.OK)
    assert second.pid(order) != pid


def test_one_that_stopped_before_it_could_listen_is_in_nobodys_way(make: Make) -> None:
    first = make(outlive=True)
    order = first.order()
    first.fleet.start(order)
    pid = first.pid(order)
    first.fleet.close()
    with held(pid) as process:
        os.kill(pid, signal.SIGSTOP)
        for path in (first.state / "run").glob("*/*.sock"):
            path.unlink()
        second = make(outlive=True)
        assert not second.fleet.adopt(order)
        second.fleet.revive(order)
        assert gone(process)
    second.until(order, Health.OK)
