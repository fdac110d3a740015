"""Placement on a node's devices. The GPUs stand for cards that this machine lacks."""

from __future__ import annotations

import dataclasses

import pytest

from elastic_inference.accelerator.devices import Device
from elastic_inference.catalog import MIB, Catalog
from elastic_inference.errors import InsufficientCapacityError
from elastic_inference.fleet.base import DeviceReport, Placement
from elastic_inference.fleet.node import Node, available_memory, usable_devices
from elastic_inference.settings import PoolSettings

GIB = 1024 * MIB
CARDS = (
    Device("cuda:0", "cuda", "stand-in", 4 * GIB),
    Device("cuda:1", "cuda", "stand-in", 8 * GIB),
)
CPU = (Device("cpu", "cpu", "stand-in", 128 * GIB, cores=4),)
MEDIUM, LARGE, XLARGE = (Catalog().get(f"eia1.{size}") for size in ("medium", "large", "xlarge"))


def test_the_gpu_with_the_most_free_memory_is_taken() -> None:
    node = Node(PoolSettings(), CARDS)
    assert [node.place(XLARGE).device for _ in range(3)] == ["cuda:1", "cuda:0", "cuda:1"]
    with pytest.raises(InsufficientCapacityError):
        node.place(MEDIUM)


def test_compute_is_cut_by_memory_or_by_the_cards_figure() -> None:
    assert Node(PoolSettings(), CARDS[1:]).place(LARGE).percentage == 25
    assert Node(PoolSettings(gpu_tflops=20.0), CARDS[1:]).place(LARGE).percentage == 10
    assert Node(PoolSettings(gpu_tflops=1000.0), CARDS[1:]).place(MEDIUM).percentage == 1
    assert Node(PoolSettings(gpu_tflops=1.0), CARDS[1:]).place(MEDIUM).percentage == 100


def test_compute_is_given_out_once() -> None:
    node = Node(PoolSettings(virtual_tflops=4.0, node_memory=64 * GIB), CPU)
    placed = [node.place(each) for each in (LARGE, MEDIUM)]
    with pytest.raises(InsufficientCapacityError) as caught:
        node.place(LARGE)
    assert caught.value.message == (
        "No node has 2048 MiB and 2 TFLOPS (best effort) free for an eia1.large:"
        f" {node.name} has 62464 MiB and 1 TFLOPS."
    )
    assert "EI_VIRTUAL_TFLOPS" in caught.value.next_step
    node.place(MEDIUM)
    node.release(placed[0])
    node.place(LARGE)
    with pytest.raises(InsufficientCapacityError):
        Node(PoolSettings(virtual_tflops=3.5, node_memory=64 * GIB), CPU).place(XLARGE)


def test_fractions_add_up_to_the_whole() -> None:
    node = Node(PoolSettings(virtual_tflops=0.3, node_memory=64 * GIB), CPU)
    tenth = dataclasses.replace(MEDIUM, tflops_fp32=0.1)
    for _ in range(3):
        node.place(tenth)
    assert node.report().devices[0].tflops_free == 0
    with pytest.raises(InsufficientCapacityError):
        node.place(tenth)


def test_a_gpu_has_what_was_measured_or_set() -> None:
    measured = Node(PoolSettings(), CARDS[1:], lambda _: 8.0)
    assert measured.place(LARGE).percentage == 25
    assert measured.place(XLARGE).percentage == 50
    assert not measured.best_effort
    with pytest.raises(InsufficientCapacityError, match="has 2048 MiB and 2 TFLOPS"):
        measured.place(XLARGE)
    assert Node(PoolSettings(gpu_tflops=4.0), CARDS[1:], lambda _: 8.0).place(XLARGE)


def test_a_card_with_memory_but_no_compute_left_is_passed_over() -> None:
    node = Node(PoolSettings(gpu_tflops=4.0), CARDS)
    assert [node.place(XLARGE).device for _ in range(2)] == ["cuda:1", "cuda:0"]
    with pytest.raises(InsufficientCapacityError, match="0 MiB and 0 TFLOPS on cuda:0; 4096 MiB"):
        node.place(MEDIUM)


def test_a_report_tells_what_is_free() -> None:
    node = Node(PoolSettings(node_memory=8 * GIB), CPU, lambda _: 0.125)
    node.place(XLARGE)
    report = node.report()
    assert report.best_effort
    (device,) = report.devices
    assert device == DeviceReport("cpu", "cpu", "stand-in", 8 * GIB, 4 * GIB, 8.0, 4.0, 0.125)
    (unknown,) = Node(PoolSettings(), CARDS[:1]).report().devices
    assert (unknown.tflops, unknown.tflops_free, unknown.measured_tflops) == (None, None, None)


def test_what_moves_takes_another_card_with_room_else_its_own() -> None:
    node = Node(PoolSettings(gpu_tflops=8.0), CARDS)
    first = node.place(XLARGE)
    second = node.replace(XLARGE, first)
    assert (first.device, second.device) == ("cuda:1", "cuda:0")
    assert first.place != second.place
    node.release(first)
    node.place(LARGE)
    node.release(second)
    node.place(XLARGE)
    third = node.place(MEDIUM)
    # Nothing else has room: the same card again.
    assert node.replace(MEDIUM, third).device in {"cuda:0", "cuda:1"}


def test_what_was_placed_before_a_restart_is_taken_even_without_room() -> None:
    node = Node(PoolSettings(), CARDS[:1])
    first = Node(PoolSettings(), CARDS[:1]).place(XLARGE)
    node.take(Placement.from_dict(first.to_dict()), XLARGE.tflops_fp32)
    with pytest.raises(InsufficientCapacityError):
        node.place(MEDIUM)
    node.release(first)
    assert node.place(MEDIUM).place != first.place


def test_this_machine_has_a_device_and_memory() -> None:
    assert len({device.kind for device in usable_devices()}) == 1
    assert available_memory() > 0
