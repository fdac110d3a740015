"""A request that came before: the same bytes, but for its tensors.

An application calls one model with one shape again and again. Its requests are then recognised
by their first bytes, and all that follows from those is known: where the tensors are, which
model runs, how the answer begins. The connection's grant is checked each time. Of requests that
carry an authorisation only those with the one that the grant follows from are recognised, on this
connection alone; to it they say no more than requests without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elastic_inference.accelerator.channel import Channel
from elastic_inference.accelerator.models import Entry
from elastic_inference.accelerator.statistics import Counter
from elastic_inference.protocol.http import RequestHead
from elastic_inference.protocol.inference import InferRequest, InferResponse
from elastic_inference.protocol.tensors import (
    CONTAINERS,
    Buffer,
    TensorSpec,
    Value,
    encode_tensor,
)

_SMALL = 16384


@dataclass(slots=True)
class Repeat:
    """What is known about the last inference of a connection.

    Attributes:
        prefix: its bytes up to the tensors.
        head_length: how many of them are not the body's.
        total: how many bytes the request has.
        whole: it is so small that it usually comes in one piece.
        authorization: what the request shows, or None.
        name: the model's, as the request says it.
        entry: the model that this name stood for.
        shapes: of the outputs.
        answer: the answer's bytes up to the tensors, if the outputs have these shapes.
        body: bytes of the answer's body.
        counter: the connection's own for this model.
    """

    prefix: bytes
    head_length: int
    total: int
    whole: bool
    authorization: bytes | None
    head: RequestHead
    request: InferRequest
    name: str
    entry: Entry
    shapes: list[tuple[int, ...]]
    answer: bytes
    body: int
    counter: Counter

    @property
    def first_read(self) -> int:
        """How many bytes to read first, so that the tensors of a large one land in their place."""
        return 0 if self.whole else len(self.prefix)

    def came(self, buffer: bytearray, count: int) -> bool:
        """Whether the `count` bytes in `buffer` are this request, or begin it."""
        wanted = count == self.total if self.whole else count >= len(self.prefix)
        return wanted and buffer.startswith(self.prefix)

    def read(self, channel: Channel) -> tuple[Buffer, int]:
        """The request that `came`, read to its end: a buffer, and where in it the tensors begin.

        Raises:
            what `Channel.read_body` does.
        """
        if self.whole:
            tensors = memoryview(channel.head[len(self.prefix) : self.total])
            channel.take_first()
            return tensors, 0
        json_length = len(self.prefix) - self.head_length
        channel.skip(self.head_length)
        body, at = channel.read_body(self.total - self.head_length, json_length)
        return body, at + json_length

    def fits(self, values: Sequence[Value]) -> bool:
        """Whether `answer` is the beginning of the answer with these outputs."""
        return shapes_of(values) == self.shapes

    def send(self, channel: Channel, values: Sequence[Value]) -> None:
        """Send the answer with these outputs, which `fits` them."""
        if self.body <= _SMALL:
            parts = [value.tobytes() for value in values]  # type: ignore[union-attr]  # arrays
            channel.send_small(b"".join([self.answer, *parts]))
        else:
            channel.send(self.answer, [encode_tensor(value) for value in values])  # type: ignore[arg-type]  # arrays

    @staticmethod
    def allowed(
        request: InferRequest,
        specs: Sequence[TensorSpec],
        values: Sequence[Value],
        response: InferResponse,
    ) -> bool:
        """Whether a request with these outputs can be remembered: all of them in the body.

        And all of them tensors whenever it comes; an optional one may be none the next time.
        """
        return (
            request.output_region is None
            and len(response.buffers) == len(values)
            and all(slot.nbytes for slot in request.inputs)
            and not any(spec.datatype in CONTAINERS for spec in specs)
            and all(isinstance(each, np.ndarray) and not each.dtype.hasobject for each in values)
        )


def shapes_of(values: Sequence[Value]) -> list[tuple[int, ...]]:
    """The shapes of arrays."""
    return [value.shape for value in values]  # type: ignore[union-attr]  # arrays, by `allowed`
