"""Placement on a node's devices. The GPUs stand for cards that this machine lacks."""

from __future__ import annotations

import pytest

from elastic_inference.accelerator.devices import Device
from elastic_inference.catalog import MIB, Catalog
from elastic_inference.errors import InsufficientCapacityError
from elastic_inference.fleet.base import Placement
from elastic_inference.fleet.node import Node, available_memory, usable_devices
from elastic_inference.settings import PoolSettings

GIB = 1024 * MIB
CARDS = (
    Device("cuda:0", "cuda", "stand-in", 4 * GIB),
    Device("cuda:1", "cuda", "stand-in", 8 * GIB),
)
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
