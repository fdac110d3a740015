"""What settles instances that nobody waits for."""

from __future__ import annotations

import queue
import threading

import pytest

from elastic_inference.control.background import Background
from elastic_inference.errors import UnavailableError

PATIENCE = 60.0


@pytest.mark.parametrize("error", [UnavailableError("It did not start."), ValueError("A defect.")])
def test_what_fails_is_tried_again_later(error: Exception) -> None:
    failed: queue.SimpleQueue[str] = queue.SimpleQueue()

    def settle(instance_id: str) -> None:
        if instance_id == "i-1":
            raise error
        failed.put("")

    background = Background(settle, failed.put)
    background.settle("i-1")
    assert failed.get(timeout=PATIENCE) == "i-1"
    background.settle("i-2")
    assert failed.get(timeout=PATIENCE) == ""
    background.close()


def test_closing_finishes_what_was_begun_and_begins_nothing() -> None:
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def settle(instance_id: str) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        done.append(instance_id)

    background = Background(settle, done.append)
    background.settle("i-1")
    assert begun.wait(PATIENCE)
    closing = threading.Thread(target=background.close)
    closing.start()
    go_on.set()
    closing.join(PATIENCE)
    background.settle("i-2")
    background.close()
    assert done == ["i-1"]
