"""What a fleet is: it places accelerators on nodes, runs them and keeps them alive.

The control plane knows accelerators by id alone. Where they run, and as what, is the fleet's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from elastic_inference.catalog import AcceleratorType


class Health(StrEnum):
    """An accelerator's health, in the words of the API.

    OK: it answers. IMPAIRED: it does not, or it is being started again. UNKNOWN: nothing is
    known of it yet.
    """

    OK = "ok"
    IMPAIRED = "impaired"
    UNKNOWN = "unknown"


# The reason of one that is impaired since its process ended by itself.
ENDED = "it has ended and is started again"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an accelerator has its share.

    Attributes:
        node: the machine's name.
        device: `cpu` or `cuda:<ordinal>`.
        memory_bytes: memory reserved there.
        threads: CPU threads of the share, for the engine.
        percentage: share of a GPU's compute in percent; 100 on a CPU.
        place: the fleet's own name for the spot, unique among its accelerators.
        uid: the accelerator's own user; None: the one that runs the pool.
    """

    node: str
    device: str
    memory_bytes: int
    threads: int
    percentage: int
    place: str
    uid: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON, so that a later control plane can adopt what runs there."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Placement:
        return cls(**{name: fields[name] for name in cls.__slots__ if name in fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An accelerator to run.

    Attributes:
        accelerator_id: `eia-<32 hex>`.
        accelerator_type: its size.
        account: whose uploads and caches it reaches.
        token_key: 32 bytes that the control plane signs its data-plane tokens with.
        server_name: its TLS server name.
        certificate, private_key: PEM, for that name, and for addresses of its own.
        placement: from `Fleet.place`.
        revoked: ids of the connection rights that open it no more.
        clients: uids besides the pool's own that may use its Unix socket.
    """

    accelerator_id: str
    accelerator_type: AcceleratorType
    account: str
    token_key: bytes = field(repr=False)
    server_name: str
    certificate: bytes
    private_key: bytes = field(repr=False)
    placement: Placement
    revoked: tuple[str, ...] = ()
    clients: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """How an accelerator is.

    Attributes:
        health: see `Health`.
        restarts: how often this fleet started it again.
        reason: why it is not OK, or "".
        reachable: it answered when it was last asked anything; True where that is not known.
        memory_used: bytes, as it then said; None: it did not.
    """

    health: Health
    restarts: int
    reason: str = ""
    reachable: bool = True
    memory_used: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """A device of a node, and what of it is free.

    Attributes:
        device: `cpu` or `cuda:<ordinal>`.
        kind: `cpu` or `cuda`.
        name: of the product.
        memory_bytes: for accelerators.
        memory_free: of `memory_bytes`; never below 0.
        tflops: FP32 compute for accelerators, in TFLOPS; None where it is not known, and then
            shares of it are not bounded.
        tflops_free: of `tflops`; never below 0.
        measured_tflops: what a matrix product of FP32 reached on it; None: not measured (yet).
    """

    device: str
    kind: str
    name: str
    memory_bytes: int
    memory_free: int
    tflops: float | None
    tflops_free: float | None
    measured_tflops: float | None


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node, and what of it is free.

    Attributes:
        node: the machine's name.
        best_effort: its TFLOPS are declared, not measured: it delivers what its processor can.
        devices: what accelerators run on.
    """

    node: str
    best_effort: bool
    devices: tuple[DeviceReport, ...]


Watcher = Callable[[str, Status], None]
MoveWatcher = Callable[[str, Placement], None]


class Fleet(Protocol):
    """Runs accelerators. Every method may be called from any thread."""

    def place(self, accelerator_type: AcceleratorType) -> Placement:
        """Reserve a share of a node; `release` or `stop` gives it back.

        Raises:
            InsufficientCapacityError: no node has room.
        """

    def release(self, placement: Placement) -> None:
        """Give back a reservation that was never started."""

    def start(self, order: Order) -> None:
        """Run an accelerator and return when it serves.

        From then on the fleet starts it again whenever it dies, in the same place, so that it
        finds what it had loaded.

        Raises:
            UnavailableError: it did not become ready; nothing of it runs and its reservation
                is given back.
        """

    def adopt(self, order: Order) -> bool:
        """Take over an accelerator that an earlier fleet started; False where none runs.

        Where none runs its reservation is held all the same, ready for `revive`.
        """

    def revive(self, order: Order) -> None:
        """Start an accelerator of an earlier fleet again, in its place. Never blocks.

        It is tried until it serves; `watch` tells when.
        """

    def renew(self, order: Order) -> None:
        """Have the accelerator use the certificate of `order` from now on, now and when revived.

        Connections that are handed over afterwards see it. Unknown ones are left out. It may
        wait for one that is being started.

        Raises:
            UnavailableError: it cannot be given the certificate.
        """

    def revoke(self, order: Order) -> None:
        """Have the accelerator refuse the rights of `order.revoked`, now and when revived.

        The list replaces the one before. What runs ends normally; the next request by a right on
        the list is refused. Never blocks long: one that is being started is told when it serves,
        and one that cannot be told now is told again and again.
        """

    def move(self, order: Order) -> Placement | None:
        """Give the accelerator another place and start it there. Never blocks long.

        Another device is taken where one has room, else a fresh place on its own. It loses what
        it had loaded. `watch_moves` tells of the new placement before anything starts in it, and
        `watch` when it serves.

        Returns:
            The new placement; None if the fleet does not run the accelerator, or if whoever
            watches could not take note of it, and then nothing has changed.
        """

    def watch_moves(self, watcher: MoveWatcher) -> None:
        """Call `watcher` with the id and new placement of each accelerator that is to move.

        The fleet moves an accelerator by itself where starting it in its place has failed again
        and again. What `watcher` raises keeps the accelerator where it is.
        """

    def last_alive(self, placement: Placement) -> float | None:
        """When the accelerator there was last known to live: CLOCK_MONOTONIC of this boot.

        It is known after the accelerator's end too, until its place is removed. None: not known,
        as after a reboot.
        """

    def nodes(self) -> tuple[NodeReport, ...]:
        """What each node has and what is free of it. Never blocks long."""

    def stop(self, accelerator_ids: Sequence[str], grace: float) -> None:
        """End accelerators and remove what they kept; unknown ids are left out.

        Running requests get `grace` seconds to end. Returns when all are gone.
        """

    def status(self, accelerator_id: str) -> Status:
        """How it is; `UNKNOWN` for one that the fleet does not run. Never blocks."""

    def hand_over(self, accelerator_id: str, connection: socket.socket, peer: str) -> None:
        """Give an accelerator a TCP connection of which nothing was read. Never blocks.

        The caller closes its own `connection`, whatever comes.

        Raises:
            UnavailableError: the accelerator is not there to take it.
        """

    def ask(self, accelerator_id: str, path: str, token: str) -> dict[str, Any]:
        """The JSON that the accelerator's data plane answers to GET `path`.

        Raises:
            UnavailableError: it gives none within a second or two.
        """

    def local_address(self, accelerator_id: str) -> dict[str, Any] | None:
        """Its Unix socket, who owns that, and its host: `{"socket", "uid", "bootId"}`, or None."""

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` with the id and status of each accelerator whose health changes."""

    def sweep(self) -> None:
        """End and remove what earlier fleets left that was not adopted."""

    def close(self) -> None:
        """Let go of every accelerator; what outlives the fleet goes on. Once or more."""
