"""Connections that are cut: orderly, by a reset, half, and amid everything there is."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time

from tests.faults import intruder
from tests.faults.crew import until
from tests.faults.fault import VICTIM, WIRE, WIRES, Fault, Scene, UnfitError
from tests.faults.intruder import Way
from tests.faults.proc import reset, sockets_of

_TIMES = 10


def _each_socket(scene: Scene, pid: int, *, by_reset: bool) -> int:
    """Cut every data connection of a process; how many there were."""
    cut = 0
    try:
        with sockets_of(pid) as found:
            for sock in found:
                if by_reset and reset(sock):
                    cut += 1
                    continue
                with contextlib.suppress(OSError):
                    how = scene.random.choice((socket.SHUT_RDWR, socket.SHUT_WR))
                    sock.shutdown(how)
                    cut += 1
    except PermissionError as error:
        raise UnfitError("other processes' descriptors cannot be had") from error
    return cut


def _clients(scene: Scene, *, by_reset: bool) -> None:
    crew = scene.crew
    cut = 0
    for _ in range(_TIMES):
        for name in VICTIM:
            time.sleep(scene.moment(0.0, 0.03))
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                cut += _each_socket(scene, crew.worker_pid(name), by_reset=by_reset)
        _let_them_answer(scene, VICTIM)
    if cut < len(VICTIM):
        raise AssertionError(f"only {cut} connections were there to be cut")


def _let_them_answer(scene: Scene, names: tuple[str, ...]) -> None:
    """One request is not cut off again and again: a client gives that up, and says so."""
    members = [scene.crew.members[name] for name in names]
    before = [member.score.right for member in members]
    for member, right in zip(members, before, strict=True):
        until(f"{member.name} to go on", lambda m=member, r=right: m.score.right > r)  # type: ignore[misc]  # bound now


def clients(scene: Scene) -> None:
    _clients(scene, by_reset=False)


def clients_by_reset(scene: Scene) -> None:
    _clients(scene, by_reset=True)


def accelerators(scene: Scene) -> None:
    for _ in range(_TIMES // 2):
        for group in ("a", "c"):
            _each_socket(scene, scene.crew.accelerator_pid(group), by_reset=True)
            time.sleep(scene.moment(0.0, 0.2))
        _let_them_answer(scene, (*VICTIM, "c"))


def control_connections(scene: Scene) -> None:
    """What the control plane and each `ei run` have open, while a client attaches."""
    crew = scene.crew
    for _ in range(_TIMES):
        for pid in (crew.pool.pid, crew.groups["a"].program.pid):
            _each_socket(scene, pid, by_reset=True)
        time.sleep(scene.moment(0.0, 0.1))


def handshakes(scene: Scene) -> None:
    """Before, amid and after the ClientHello, so that some are cut while they are handed on."""
    way = Way(scene.crew, "a")
    hello = way.hello()
    for number in range(80):
        sock = way.plain()
        with contextlib.suppress(OSError):
            sock.sendall(hello[: scene.random.choice((0, 1, 5, len(hello) // 2, len(hello)))])
        if number % 2:
            intruder.linger_zero(sock)
        else:
            sock.close()


def half_open(scene: Scene) -> None:
    """Each stage of a connection at which it falls silent; the other side must end it."""
    way = Way(scene.crew, "a")
    hello = way.hello()
    request = way.infer("a-wire-1", 1000)
    silent = [way.plain() for _ in range(3)]
    silent[1].sendall(hello[:7])
    silent[2].sendall(hello)
    for part in (0, 20, 400, len(request) - 1):
        tls = way.secured()
        tls.sendall(request[:part])
        silent.append(tls)
    try:
        for number, sock in enumerate(silent):
            if not intruder.is_closed(sock):
                raise AssertionError(f"silence number {number} is not ended")
    finally:
        for sock in silent:
            sock.close()


def requests(scene: Scene) -> None:
    """Amid an upload, amid a request, and before its answer was read."""
    way = Way(scene.crew, "a")
    digest = hashlib.sha256(scene.random.randbytes(32)).hexdigest()
    infer = way.infer("no-such-model", 200_000)
    for _ in range(_TIMES):
        for raw in (
            way.upload(digest, 4_000_000) + bytes(scene.random.randrange(1_000_000)),
            infer[: scene.random.randrange(len(infer))],
            infer,
        ):
            tls = way.secured()
            with contextlib.suppress(OSError):
                tls.sendall(raw)
            if scene.random.random() < 0.5:
                intruder.linger_zero(tls)
            else:
                tls.close()


FAULTS = [
    Fault("cut", "clients' connections", clients, WIRE, quick=True),
    Fault("cut", "clients' connections, by a reset", clients_by_reset, WIRE, quick=True),
    Fault("cut", "accelerator's connections", accelerators, WIRE),
    Fault("cut", "connections of the control plane", control_connections, WIRES),
    Fault("cut", "handshakes and handovers", handshakes, quick=True),
    Fault("cut", "half-open at each stage", half_open),
    Fault("cut", "uploads, requests and answers", requests),
]
