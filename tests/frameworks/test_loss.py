"""What a session does when its accelerator is gone for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.errors import UnavailableError
from elastic_inference.onnxruntime import InferenceSession
from elastic_inference.settings import ClientSettings
from tests.frameworks.models import add
from tests.processes import AcceleratorProcess

FEEDS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.ones(3, np.float32)}


def attach_and_lose(start: Callable[..., AcceleratorProcess]) -> tuple[Any, Accelerator]:
    process = start()
    target = connect(
        settings=ClientSettings(recovery_timeout=0.2),
        address=Address(socket_path=str(process.config.data_socket)),
        token=process.token(),
    )
    session = InferenceSession(add(), accelerator=target)
    np.testing.assert_array_equal(session.run(None, FEEDS)[0], FEEDS["x"] + 1)
    process.process.kill()
    process.process.wait(10)
    return session, target


def test_by_default_it_is_an_error(start_accelerator: Callable[..., AcceleratorProcess]) -> None:
    session, target = attach_and_lose(start_accelerator)
    with pytest.raises(UnavailableError):
        session.run(None, FEEDS)
    target.close()


def test_it_may_go_on_locally(
    start_accelerator: Callable[..., AcceleratorProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EI_ON_LOSS", "local")
    session, target = attach_and_lose(start_accelerator)
    with pytest.warns(RuntimeWarning, match="goes on with the local ONNX Runtime"):
        first = session.run(None, FEEDS)[0]
    # Warnings are errors in tests: a second one would end these.
    for result in (first, session.run(None, FEEDS)[0], session.run(None, FEEDS)[0]):
        np.testing.assert_array_equal(result, FEEDS["x"] + 1)
    assert [arg.name for arg in session.get_inputs()] == ["x", "y"]
    target.close()
