"""An accelerator process as pools start it, under the same fire."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from elastic_inference.settings import Limits
from tests.endpoint import SERVER_NAME, make_certificate
from tests.fuzz.accelerator import PATIENCE, Accelerator
from tests.fuzz.target import count_entries
from tests.processes import AcceleratorProcess


class RealAccelerator(Accelerator):
    """See Accelerator; connections are TCP and Unix in turns."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory("-ei-fuzz")
        directory = Path(self._folder.name)
        certificate, key = make_certificate(directory)
        self._process = AcceleratorProcess(
            directory,
            certificate=certificate,
            private_key=key,
            server_name=SERVER_NAME,
            limits=Limits(lease_grace=0.0),
        )
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._control.settimeout(PATIENCE)
            self._control.connect(str(self._process.config.handover_socket))
            assert self._control.recv(4096)
            self.token = self._process.token(lifetime=86400.0)
            self.prepare()
        except BaseException:
            self._end()
            raise

    def connect(self, *, tls: bool = False, unix: bool = True) -> socket.socket:
        if not tls:
            return self._process.connect(unix=unix, timeout=PATIENCE)
        mine, theirs = socket.socketpair()
        mine.settimeout(PATIENCE)
        with theirs:
            socket.send_fds(self._control, [b'{"kind":"connection"}'], [theirs.fileno()])
        return mine

    def check(self) -> None:
        assert self._process.process.poll() is None, "the accelerator died"

    def leftovers(self) -> tuple[int, ...]:
        folder = Path("/proc", str(self._process.pid))
        models = self._process.config.store_directory / "models"
        return tuple(map(count_entries, (folder / "task", folder / "fd", models)))

    def close(self) -> None:
        super().close()
        self._end()

    def _end(self) -> None:
        self._control.close()
        self._process.stop()
        self._folder.cleanup()
