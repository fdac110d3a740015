from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from elastic_inference.errors import UnavailableError
from elastic_inference.serving import main as module
from elastic_inference.serving import server
from elastic_inference.serving.main import COMMAND, main
from tests.serving.versions import PATIENCE

_WORDS = ["--model_base_path=/models/m"]


class Server:
    """Stands in for the model server.

    Attributes:
        error: what its start fails with.
        signal: what comes while it starts, or once it did.
        waits: whether its start lasts until it is stopped.
    """

    error: Exception | None = None
    signal: signal.Signals | None = None
    waits = False
    stops: list[float]

    def __init__(self, *_: object) -> None:
        self._stopped = threading.Event()
        Server.stops = []

    def start(self) -> None:
        if Server.signal is not None:
            os.kill(os.getpid(), Server.signal)
        if Server.waits:
            assert self._stopped.wait(PATIENCE)
        if Server.error is not None:
            raise Server.error

    def stop(self, grace: float) -> bool:
        Server.stops.append(grace)
        self._stopped.set()
        return True


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (("error", None), ("signal", None), ("waits", False)):
        monkeypatch.setattr(Server, name, value)
    monkeypatch.setattr(server, "ModelServer", Server)
    monkeypatch.setattr(module, "_attached", lambda _: contextlib.nullcontext())
    logger = logging.getLogger("elastic_inference")
    handlers = list(logger.handlers)
    yield
    logger.handlers = handlers
    logging.getLogger("elastic_inference.serving").setLevel(logging.NOTSET)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("waits", [False, True])
def test_a_signal_ends_it_in_order(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, waits: bool
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(Server, "signal", number)
    monkeypatch.setattr(Server, "waits", waits)
    assert main(_WORDS) == 0
    assert Server.stops == [module._GRACE]
    assert signal.getsignal(number) is before


def test_a_start_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "error", UnavailableError("1 model(s) did not become available"))
    assert main(_WORDS) == 1
    assert Server.stops == [module._GRACE]
    assert capsys.readouterr().err == (
        f"{COMMAND}: Failed to start server. Error: 1 model(s) did not become available\n"
    )


def test_a_defect_in_the_start_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "error", ZeroDivisionError("what"))
    assert main(_WORDS) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "Error: The start failed: ZeroDivisionError('what')." in said


def test_what_is_ignored_is_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "signal", signal.SIGTERM)
    assert main([*_WORDS, "--xla_cpu_compilation_enabled"]) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert ": W main] --xla_cpu_compilation_enabled is ignored: " in first


_TWICE = """
import os, signal, threading
from elastic_inference.serving import main as module
with module._Signals() as signals:
    signals.wake()
    assert signals.wait() == 0
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.wait() == signal.SIGTERM
    signals.end_with_the_next()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(30)
"""


def test_a_second_signal_ends_it_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TWICE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")
