"""A whole accelerator in this process: real sockets, threads, store, engine and models."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

from elastic_inference.accelerator.config import AcceleratorConfig
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine
from elastic_inference.accelerator.journal import Journal
from elastic_inference.accelerator.memory import MemoryAccount
from elastic_inference.accelerator.models import ModelRegistry
from elastic_inference.accelerator.server import Server, tls_context
from elastic_inference.accelerator.store import BlobStore
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.protocol.tokens import Claims, mint
from elastic_inference.settings import Limits
from tests.endpoint import make_certificate
from tests.fuzz.accelerator import PATIENCE, Accelerator
from tests.fuzz.target import count_entries
from tests.processes import ACCELERATOR_ID, ACCOUNT, TOKEN_KEY

_GIB = 1 << 30


class _Defects(logging.Handler):
    """Remembers what the code under test calls a defect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self._formatter.format(record))


class LocalAccelerator(Accelerator):
    """See Accelerator; what a fuzzer reaches in it is seen."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory("-ei-fuzz")))
        self._listen_for_defects()
        limits = Limits(max_store=64 << 20, max_models=32, max_regions=32, lease_grace=0.0)
        config = AcceleratorConfig(
            accelerator_id=ACCELERATOR_ID,
            accelerator_type="eia1.medium",
            account=ACCOUNT,
            memory_bytes=_GIB,
            directory=directory,
            store_directory=directory / "store",
            token_key=TOKEN_KEY,
            limits=limits,
        )
        # As `accelerator.assembly` does, but for what it sets for the whole process.
        engine = OnnxRuntimeEngine("cpu", _GIB, 1)
        memory = MemoryAccount(_GIB, engine.trim)
        store = BlobStore(config.store_directory, limits)
        registry = ModelRegistry(engine, memory, store, Journal(config.journal), limits)
        self._plane = DataPlane(config, engine, store, memory, registry)
        certificate, key = make_certificate(directory)
        self._server = Server(self._plane, tls_context(str(certificate), str(key)))
        claims = Claims(ACCELERATOR_ID, "i-fuzz", ACCOUNT, time.time() + 86400.0)
        self.token = mint(bytes.fromhex(TOKEN_KEY), claims)
        self.store = config.store_directory
        self.prepare()

    def _listen_for_defects(self) -> None:
        self._defects = _Defects()
        log = logging.getLogger("elastic_inference")
        propagate, before = log.propagate, threading.excepthook
        log.propagate = False
        log.addHandler(self._defects)
        threading.excepthook = lambda told: self._defects.found.append(repr(told))

        def undo() -> None:
            log.removeHandler(self._defects)
            log.propagate = propagate
            threading.excepthook = before

        self._stack.callback(undo)

    def connect(self, *, tls: bool = False, unix: bool = True) -> socket.socket:  # noqa: ARG002 - one kind fits both
        mine, theirs = socket.socketpair()
        mine.settimeout(PATIENCE)
        self._server.serve(theirs, tls=tls)
        return mine

    def check(self) -> None:
        assert not self._defects.found, self._defects.found

    def leftovers(self) -> tuple[int, ...]:
        self._plane.tick()
        folders = count_entries(self.store / "models")
        return threading.active_count(), count_entries(Path("/proc/self/fd")), folders

    def settle(self, before: tuple[int, ...] | None) -> tuple[int, ...]:
        now = super().settle(before)
        # Each load looks through all that is stored, which fuzzing makes much.
        for path in (self.store / "blobs").iterdir():
            if path.name not in self.uploads:
                path.unlink()
        for path in (self.store / "caches").iterdir():
            shutil.rmtree(path)
        return now

    def close(self) -> None:
        super().close()
        self._plane.start_draining()
        self._server.drain(PATIENCE)
        for name in [*self._models, self.known_model]:
            with contextlib.suppress(ElasticInferenceError):
                self._plane.unload(name, self._plane.clients.anonymous())
        self._stack.close()
