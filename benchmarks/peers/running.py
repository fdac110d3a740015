"""Servers that run for a measurement, and what is asked of them."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.harness import FloorDrive
from benchmarks.peers import wire
from benchmarks.peers.catalog import Access, Peer
from benchmarks.peers.environments import UnavailableError, environment
from benchmarks.workloads import Workload

_SERVERS = Path(__file__).parent / "servers"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's place for it
_START_TIMEOUT = 180.0
_STOP_TIMEOUT = 20.0
_PAUSE = 0.2
_ANSWER_TIMEOUT = 120.0
_TOLERANCE = 1e-3
_NO_ANSWER = (
    OSError,
    http.client.HTTPException,
    subprocess.SubprocessError,
    ValueError,
    LookupError,
)


@dataclass(frozen=True, slots=True)
class Contact:
    """A server's protocol at its address.

    Attributes:
        title: of the server and the protocol, as in the tables.
        access: the protocol.
        port: on 127.0.0.1.
        models: a workload's name to its model's; empty where they are the same.
        options: of `floor drive`, for TLS.
        headers: that authorise, for clients that make requests of their own.
    """

    title: str
    access: Access
    port: int
    models: Mapping[str, str]
    options: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def write_request(self, workload: Workload, directory: Path) -> Path:
        """The file of what is replayed."""
        name = self.title.replace(" ", "-").replace(",", "")
        path = directory / f"{workload.name}.{name}.request"
        model = self.models.get(workload.name, workload.name)
        path.write_bytes(self.access.request(workload, model))
        return path

    def drive(self, program: Path, request: Path, connections: int) -> FloorDrive:
        """The C client that replays `request`."""
        letter = "-g" if self.access.kind == "grpc" else "-f"
        where = ["-p", str(self.port), *self.options, letter, str(request)]
        return FloorDrive(program, where, connections)

    def check(self, program: Path, request: Path, expected: wire.Array) -> float:
        """Ask once and compare the answer; how many seconds it took.

        Raises:
            UnavailableError: the server did not answer, or with something else.
        """
        begun = time.monotonic()
        try:
            if self.access.kind == "grpc" or self.options:
                got = self._ask_with_floor(program, request)
            else:
                got = self._ask(request)
        except _NO_ANSWER as error:
            raise UnavailableError(f"no answer: {type(error).__name__}: {error}") from error
        taken = time.monotonic() - begun
        if got.size != expected.size or not np.allclose(
            got, expected.ravel(), rtol=_TOLERANCE, atol=_TOLERANCE
        ):
            raise UnavailableError("a wrong answer")
        return taken

    def _ask(self, request: Path) -> wire.Array:
        with socket.create_connection(("127.0.0.1", self.port), _ANSWER_TIMEOUT) as connection:
            connection.sendall(request.read_bytes())
            answer = http.client.HTTPResponse(connection, method="POST")
            answer.begin()
            body = answer.read()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {body[:200].decode(errors='replace')}")
        return self._decode({name.lower(): value for name, value in answer.getheaders()}, body)

    def _ask_with_floor(self, program: Path, request: Path) -> wire.Array:
        answer = request.with_suffix(".answer")
        drive = self.drive(program, request, 1)
        done = subprocess.run(
            [str(program), "drive", *drive.options, "-o", str(answer)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER_TIMEOUT,
        )
        if done.returncode:
            raise ValueError(done.stderr.strip()[:200] or "refused")
        content = answer.read_bytes()
        answer.unlink()
        if self.access.kind == "grpc":
            return wire.grpc_answer(content[5:])
        head, _, body = content.partition(b"\r\n\r\n")
        fields = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
        return self._decode({name.lower(): value.strip() for name, _, value in fields}, body)

    def _decode(self, headers: Mapping[str, str], body: bytes) -> wire.Array:
        assert self.access.answer is not None
        return self.access.answer(headers, body)


class Server:
    """A peer's process, in a session of its own so that its children end with it."""

    def __init__(self, peer: Peer, models: Path, directory: Path) -> None:
        """Start it; `models` holds `NAME.onnx` files.

        Raises:
            UnavailableError: its environment cannot be made.
        """
        self.peer = peer
        python = environment(peer.environment)
        self.ports = free_ports(peer.ports)
        home = directory / peer.name
        home.mkdir()
        self._log = home / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(python), str(_SERVERS / peer.script)],
                cwd=home,
                env=_environment(peer, models, self.ports, python, home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def contacts(self) -> list[Contact]:
        return [
            Contact(f"{self.peer.title}, {access.name}", access, self.ports[access.port], {})
            for access in self.peer.accesses
        ]

    def wait(self, contact: Contact, program: Path, request: Path, expected: wire.Array) -> None:
        """Wait until it answers rightly.

        Raises:
            UnavailableError: it ended, or did not within three minutes.
        """
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                contact.check(program, request, expected)
            except UnavailableError as error:
                if self.process.poll() is not None:
                    raise UnavailableError(f"ended at its start: {self.last_line()}") from error
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def last_line(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip()[:200] if lines else "it said nothing"

    def stop(self) -> None:
        """End it and all that it started; what does not end by itself is killed."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                self.process.poll()
                os.killpg(self.process.pid, 0)
                time.sleep(_PAUSE)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_STOP_TIMEOUT)
        # Triton names its shared memory so, and leaves it where it was killed.
        for left in _SHARED_MEMORY.glob(f"ei_peers_{self.process.pid}_*"):
            left.unlink(missing_ok=True)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _environment(
    peer: Peer, models: Path, ports: Sequence[int], python: Path, home: Path
) -> dict[str, str]:
    """Nothing of the user's, and folders in which nothing outlives the run."""
    libraries = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return {
        "PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}",
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LD_LIBRARY_PATH": libraries,
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "EI_PEERS_MODELS": str(models),
        "EI_PEERS_PORTS": ",".join(str(port) for port in ports),
        "EI_PEERS_INSTANCES": str(peer.instances),
    }
