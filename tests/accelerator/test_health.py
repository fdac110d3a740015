"""The tiny inference by which an accelerator knows that it infers, and its device's failures."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from elastic_inference.accelerator.engines._errors import load_error, run_error
from elastic_inference.accelerator.engines.base import DeviceFailedError
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine
from elastic_inference.accelerator.health import HealthCheck
from elastic_inference.errors import AcceleratorOutOfMemoryError, InternalError
from tests.accelerator.engines import engine
from tests.accelerator.http_client import Wire, infer, load
from tests.client.models import slow
from tests.processes import AcceleratorProcess

__all__ = ["engine"]

PATH = "/v2/elastic-inference/health"
WELL = {"live": True, "inference": "ok", "device": "ok"}
PATIENCE = 60.0
# Rounds that take long enough for some checks.
_LONG = 30_000
_ILLEGAL = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running MatMul node. "
    "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h"
)


def said(body: bytes) -> dict[str, object]:
    """What an accelerator says, but for the memory that it uses."""
    report: dict[str, object] = json.loads(body)
    memory = report.pop("memoryUsed")
    assert isinstance(memory, int)
    assert memory >= 0
    return report


class TestOverTheWire:
    def test_the_unix_socket_needs_no_token(self, accelerator: AcceleratorProcess) -> None:
        with Wire(accelerator, unix=True) as wire:
            for _ in range(3):
                status, _, body = wire.request("GET", PATH, token=None)
                assert (status, said(body)) == (200, WELL)

    def test_tcp_needs_one(self, accelerator: AcceleratorProcess) -> None:
        with Wire(accelerator) as wire:
            assert wire.request("GET", PATH, token=None)[0] == 401
            assert wire.request("GET", PATH)[0] == 200

    def test_it_opens_nothing_else(self, accelerator: AcceleratorProcess) -> None:
        with Wire(accelerator, unix=True) as wire:
            assert wire.request("GET", PATH, token=None)[0] == 200
            assert wire.request("GET", "/v2", token=None)[0] == 401


def test_the_engines_check_computes(engine: OnnxRuntimeEngine) -> None:
    engine.check()
    engine.check()


def failing(error: Exception) -> HealthCheck:
    def check() -> None:
        raise error

    return HealthCheck(check, lambda: False, patience=PATIENCE)


def test_a_failed_check_says_why() -> None:
    check = failing(InternalError("The engine computes wrongly: 1."))
    error = "The engine computes wrongly: 1."
    assert check.report() == {**WELL, "inference": "failed", "error": error}
    assert "ValueError('x')" in failing(ValueError("x")).report()["error"]


def test_one_that_its_tenant_has_filled_is_not_ill() -> None:
    assert failing(AcceleratorOutOfMemoryError()).report() == WELL
    assert failing(MemoryError()).report() == WELL


class TestLate:
    """A check that does not end in its time."""

    @pytest.fixture
    def hold(self) -> threading.Event:
        return threading.Event()

    def test_while_others_run_it_is_no_failure_for_a_while(self, hold: threading.Event) -> None:
        now = [0.0]
        busy = [True]

        def run() -> None:
            hold.wait(PATIENCE)

        check = HealthCheck(
            run,
            lambda: busy[0],
            patience=0.0,
            clock=lambda: now[0],
        )
        assert check.report() == WELL
        now[0] = 59.0
        assert check.report() == WELL
        now[0] = 61.0
        assert check.report()["error"] == "it has not ended in 61.0 s"
        now[0] = 30.0
        busy[0] = False
        assert check.report()["inference"] == "failed"
        hold.set()

    def test_when_it_ends_the_next_one_counts(self, hold: threading.Event) -> None:
        runs = []

        def run() -> None:
            runs.append(1)
            hold.wait(PATIENCE)

        check = HealthCheck(run, lambda: False, patience=0.01)
        assert check.report()["inference"] == "failed"
        assert check.report()["inference"] == "failed"
        assert len(runs) == 1
        hold.set()
        while len(runs) < 2:
            check.report()


class TestDevice:
    def test_the_first_failure_stays(self) -> None:
        check = HealthCheck(lambda: None, lambda: False, patience=PATIENCE)
        check.device_failed("an illegal memory access was encountered")
        check.device_failed("another")
        assert check.report() == {**WELL, "device": "an illegal memory access was encountered"}

    @pytest.mark.parametrize(
        "text",
        [
            _ILLEGAL,
            "CUDA failure 719: unspecified launch failure ; GPU=0",
            "CUDA error cudaErrorAssert: device-side assert triggered",
            "CUDA failure 214: uncorrectable ECC error encountered",
        ],
    )
    def test_errors_after_which_nothing_works(self, text: str) -> None:
        for error in (run_error(RuntimeError(text)), load_error(RuntimeError(text))):
            assert isinstance(error, DeviceFailedError)
            assert error.kind == "internal"
            assert "started again" in error.next_step

    @pytest.mark.parametrize(
        "text",
        ["CUDA failure 2: out of memory", "CUDA failure 1: invalid argument", "it failed"],
    )
    def test_errors_of_one_request(self, text: str) -> None:
        assert not isinstance(run_error(RuntimeError(text)), DeviceFailedError)


def test_a_busy_accelerator_is_well(accelerator: AcceleratorProcess) -> None:
    load(accelerator, "long", slow(_LONG))
    square = np.eye(24, dtype=np.float32)
    done = threading.Event()

    def run() -> None:
        with Wire(accelerator) as wire:
            infer(wire, "long", square)
        done.set()

    running = threading.Thread(target=run)
    running.start()
    with Wire(accelerator, unix=True) as wire:
        while not done.is_set():
            status, _, body = wire.request("GET", PATH, token=None)
            assert (status, said(body)) == (200, WELL)
    running.join()
