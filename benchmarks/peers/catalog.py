"""The peers, how each is started, and every way to reach it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.peers import wire
from benchmarks.workloads import Workload

Request = Callable[[Workload, str], bytes]
Answer = Callable[[Mapping[str, str], bytes], wire.Array]


@dataclass(frozen=True, slots=True)
class Access:
    """One protocol of a server.

    Attributes:
        name: as it appears after the server's in the tables.
        kind: `http` or `grpc`.
        request: what is replayed for a workload's model of that name.
        answer: the output tensor in an HTTP answer's headers and body; None for gRPC.
        port: which of the server's ports.
        without: workloads that it is not measured with, each with the reason.
    """

    name: str
    kind: str
    request: Request
    answer: Answer | None
    port: int
    without: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that one may use instead.

    Attributes:
        name: its key on the command line.
        title: as it appears in the tables.
        environment: the name of the environment that it runs in.
        script: a file of `servers`.
        ports: how many it opens.
        accesses: its protocols.
        instances: of each model, where a server lets one choose.
    """

    name: str
    title: str
    environment: str
    script: str
    ports: int
    accesses: Sequence[Access]
    instances: int = 1


def _binary(port: int = 0) -> Access:
    return Access("HTTP", "http", wire.binary_request, wire.binary_answer, port)


def _grpc(port: int = 1) -> Access:
    return Access("gRPC", "grpc", wire.grpc_request, None, port)


TRITON = "triton_server.py"
_PROCESSORS = len(os.sched_getaffinity(0))
_TOO_MUCH_JSON = {"frame": "6.2 million numbers as JSON"}

PEERS = {
    peer.name: peer
    for peer in (
        Peer("triton", "Triton", "triton", TRITON, 2, (_binary(), _grpc())),
        Peer(
            "triton-wide",
            f"Triton ({_PROCESSORS} instances)",
            "triton",
            TRITON,
            2,
            (_binary(), _grpc()),
            _PROCESSORS,
        ),
        Peer("pytriton", "PyTriton", "triton", "pytriton_server.py", 3, (_binary(), _grpc())),
        Peer(
            "mlserver",
            "MLServer",
            "mlserver",
            "mlserver_server.py",
            3,
            (
                Access(
                    "HTTP, JSON",
                    "http",
                    wire.json_request,
                    wire.binary_answer,
                    0,
                    _TOO_MUCH_JSON,
                ),
                _grpc(),
            ),
        ),
        Peer("kserve", "KServe", "kserve", "kserve_server.py", 2, (_binary(), _grpc())),
        Peer(
            "litserve",
            "LitServe",
            "litserve",
            "litserve_server.py",
            1,
            (Access("HTTP, base64", "http", wire.base64_request, wire.base64_answer, 0),),
        ),
    )
}
