"""What a remote procedure is to the transport that calls it, and what it is told of its call.

`rpcs.find(path)` gives the transport a `Method`; the transport makes an `Rpc` for each call. A
handler takes it and one message, and gives the parts of the message that answers, in order and
without gRPC's prefix. It raises errors of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from elastic_inference.accelerator.clients import ClientSession
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.protocol.inference import Regions
from elastic_inference.protocol.tensors import Buffer


class Peer(Protocol):
    """The other end of the connection."""

    @property
    def is_local(self) -> bool:
        """It is on this host and of this user; looked up when first asked."""


@dataclass(slots=True)
class Rpc:
    """One call.

    Attributes:
        session: the client process that calls.
        regions: the shared memory that it may name.
        peer: tells whether it is on this host and of this user.
        metadata: the call's fields, without the authorisation; names in lower case.
        align_at: set by a handler to the offset in its message of the largest raw tensor; the
            next message of that length is laid down so that this offset is a multiple of 64.
        model: set by a handler that infers, once it knows that there is a model of that name;
            the call then counts in that model's statistics.
        computed: set by such a handler to the monotonic time at which the engine was done.
        failed: set by such a handler of a stream whose answer tells an error.
    """

    plane: DataPlane
    session: ClientSession
    regions: Regions
    peer: Peer
    metadata: Mapping[str, str]
    align_at: int = 0
    model: str = ""
    computed: float = 0.0
    failed: bool = False


Parts: TypeAlias = Sequence[Buffer | bytes]
# Called once per message, in a thread that may block. The message and views into it are valid
# until the answer is sent. An error of a unary call becomes its status; one of a stream ends it.
Answer: TypeAlias = Callable[[Rpc, memoryview], Parts]
# Called once. The transport takes the first item at once and asks for another about twice a
# second while the call is open, so no item may be waited for: None says that nothing is new.
Watch: TypeAlias = Callable[[Rpc, memoryview], Iterator[Parts | None]]


@dataclass(frozen=True, slots=True)
class Method:
    """A remote procedure.

    Attributes:
        kind: `unary` has one message and one answer; `stream` any number of messages, each with
            one answer, in order; `watch` one message and any number of answers.
        handler: a `Watch` for `watch`, an `Answer` for the others.
        is_open: whether it may be called without a token.
    """

    kind: Literal["unary", "stream", "watch"]
    handler: Answer | Watch
    is_open: bool = False
