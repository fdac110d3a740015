"""The accelerator process: start, ready, serve, drain, end."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elastic_inference.accelerator.config import AcceleratorConfig
from elastic_inference.accelerator.heartbeat import Heart
from elastic_inference.errors import ConflictError, ElasticInferenceError, UnavailableError

if TYPE_CHECKING:
    from elastic_inference.accelerator.rights import Rights

log = logging.getLogger(__name__)

# Connections are many and their calls shallow: small stacks keep them cheap.
_STACK = 512 * 1024
_BEAT_INTERVAL = 1.0


class AcceleratorProcess:
    """One accelerator, from its configuration to its end.

    Args:
        path: the file with its configuration, which is read again when rights are revoked.

    Raises:
        ConfigurationError: the file cannot be read or is not valid.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.config = config = AcceleratorConfig.from_file(path)
        self._stop = threading.Event()
        self._heart = Heart(config.directory)

    def run(self, ready_fd: int | None) -> None:
        """Serve until told to end."""
        config = self.config
        threading.stack_size(_STACK)
        if config.lifeline_fd is not None:
            threading.Thread(
                target=_end_with, args=(config.lifeline_fd,), name="lifeline", daemon=True
            ).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        _share_with_group(config.store_directory)
        lock = _own(config.directory)
        # The parts that load the engine are imported here, so that a wrong configuration and
        # the detached start answer at once.
        from elastic_inference.accelerator import assembly  # noqa: PLC0415
        from elastic_inference.accelerator.handover import Handover  # noqa: PLC0415
        from elastic_inference.accelerator.server import Server  # noqa: PLC0415
        from elastic_inference.accelerator.sockets import listen_tcp, listen_unix  # noqa: PLC0415

        plane = assembly.data_plane(config)
        server = Server(plane, self._tls())
        server.listen(listen_unix(config.data_socket, for_all=bool(config.clients)))
        port = None
        if config.listen is not None:
            listener = listen_tcp(config.listen)
            port = listener.getsockname()[1]
            server.listen(listener)
        handover = Handover(
            listen_unix(config.handover_socket, socket.SOCK_SEQPACKET),
            {"pid": os.getpid(), "accelerator_id": config.accelerator_id},
            serve=lambda sock: server.serve(sock, tls=True),
            drain=self._stop.set,
            renew=lambda: self._renew(server),
            revoke=lambda: self._revoke(plane.rights),
        )
        plane.models.restore()
        self._heart.beat()
        ready = {"pid": os.getpid(), "accelerator_id": config.accelerator_id, "port": port}
        if not _tell(ready_fd, ready):
            raise UnavailableError("Nobody waits for this accelerator any more.")
        self._wait(handover)
        plane.start_draining()
        server.drain(config.limits.drain_timeout)
        for path in (config.data_socket, config.handover_socket):
            path.unlink(missing_ok=True)
        os.close(lock)
        if server.busy:
            _leave()

    def _tls(self) -> Any:
        """A context with the certificate's files as they are now; None where there are none."""
        from elastic_inference.accelerator.server import tls_context  # noqa: PLC0415

        certificate, key = self.config.certificate, self.config.private_key
        return (
            None if certificate is None or key is None else tls_context(str(certificate), str(key))
        )

    def _renew(self, server: Any) -> None:
        try:
            server.use(self._tls())
        except OSError as error:
            log.warning("The new certificate cannot be used: %s", error)

    def _revoke(self, rights: Rights) -> None:
        try:
            rights.revoke(AcceleratorConfig.from_file(self._path).revoked)
        except ElasticInferenceError as error:
            # Who was told to refuse somebody and cannot find out whom serves nobody.
            log.warning("It cannot be seen whom to refuse, so this accelerator ends: %s", error)
            self._stop.set()

    def _wait(self, handover: Any) -> None:
        grace = self.config.control_grace
        while not self._stop.wait(_BEAT_INTERVAL):
            self._heart.beat()
            if grace is not None and handover.alone_for > grace:
                log.warning("No control plane for %.0f s: this accelerator ends", grace)
                return


def _end_with(lifeline: int) -> None:
    """End at once when the owner of the other end of the pipe is gone, however it went."""
    with contextlib.suppress(OSError):
        while os.read(lifeline, 1):
            pass
    os._exit(0)


def _share_with_group(store: Path) -> None:
    """Let those who share the store use what this process puts there, and nobody else."""
    if store.exists() and store.stat().st_mode & stat.S_ISGID:
        os.umask(0o007)


def _own(directory: Path) -> int:
    """A lock on the directory, which ends with the process however that ends, and names it.

    Raises:
        ConflictError: another accelerator runs there.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConflictError(
            "Another accelerator process runs in this directory.",
            next_step="It ends by itself when no control plane comes; else end it.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _leave() -> None:
    """End while calls of the engine still run, which would not outlive the interpreter's end."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    logging.shutdown()
    os._exit(0)


def _tell(ready_fd: int | None, message: dict[str, Any]) -> bool:
    """Say `message` to the starter; False if it has gone or given up."""
    line = json.dumps(message) + "\n"
    if ready_fd is None:
        sys.stdout.write(line)
        sys.stdout.flush()
        return True
    try:
        os.write(ready_fd, line.encode())
        os.close(ready_fd)
    except OSError:
        return False
    return True


def _detach() -> None:
    """Leave the starter's process tree and session."""
    if os.fork():
        os._exit(0)
    os.setsid()


def main(arguments: list[str]) -> int:
    """Entry point of `python -m elastic_inference.accelerator`."""
    parser = argparse.ArgumentParser(
        prog="python -m elastic_inference.accelerator",
        description="Run one accelerator. Pools start these by themselves.",
    )
    parser.add_argument("config", type=Path, help="JSON file, see AcceleratorConfig")
    parser.add_argument("--detach", action="store_true", help="run on without the starter")
    parser.add_argument("--ready-fd", type=int, help="where to write one line of JSON when ready")
    options = parser.parse_args(arguments)
    if options.detach:
        _detach()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        AcceleratorProcess(options.config).run(options.ready_fd)
    except ElasticInferenceError as error:
        _tell(options.ready_fd, {"error": str(error), **error.to_dict()})
        return 1
    except OSError as error:
        _tell(options.ready_fd, {"error": str(error)})
        return 1
    return 0
