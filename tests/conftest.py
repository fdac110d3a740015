"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import AcceleratorProcess

# ONNX Runtime keeps files in the home directory to report from, unless told before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@pytest.fixture(autouse=True, scope="session")
def _signals_as_in_a_terminal() -> None:
    """A shell lets what it starts in the background ignore these, and children inherit that."""
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(autouse=True)
def _no_pool_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests see no pool, no credentials, no settings and no cache of the user who runs them."""
    for name in list(os.environ):
        if name.startswith(("EI_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder whose path leaves room for a socket's name (at most 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def start_accelerator() -> Iterator[Callable[..., AcceleratorProcess]]:
    """Start accelerator processes: `start_accelerator(memory_bytes=…)`; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(directory: Path | None = None, **settings: Any) -> AcceleratorProcess:
            if directory is None:
                name = stack.enter_context(tempfile.TemporaryDirectory(prefix="ei-"))
                directory = Path(name)
            process = AcceleratorProcess(directory, **settings)
            stack.callback(process.stop)
            return process

        yield start


@pytest.fixture(scope="module")
def accelerator() -> Iterator[AcceleratorProcess]:
    """One accelerator process for all tests of a file."""
    with tempfile.TemporaryDirectory(prefix="ei-") as name:
        process = AcceleratorProcess(Path(name))
        try:
            yield process
        finally:
            process.stop()
