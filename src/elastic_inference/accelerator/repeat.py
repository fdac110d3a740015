"""A request that came before: the same bytes, but for its tensors.

An application calls one model with one shape again and again. Its small requests are then
recognised by their first bytes, and all that follows from those is known: where the tensors
are, which model runs, how the answer begins. A request that carries an authorisation is never
remembered; the connection's grant is checked each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elastic_inference.accelerator.models import Entry
from elastic_inference.accelerator.statistics import Counter
from elastic_inference.protocol.http import RequestHead
from elastic_inference.protocol.inference import InferRequest, InferResponse, Regions, read_inputs
from elastic_inference.protocol.tensors import Value


@dataclass(slots=True)
class Repeat:
    """What is known about the last small request of a connection.

    Attributes:
        prefix: its bytes up to the tensors.
        total: how many bytes it has.
        name: the model's, as the request says it.
        entry: the model that this name stood for.
        shapes: of the outputs.
        answer: the answer's bytes up to the tensors, if the outputs have these shapes.
        body: bytes of the answer's body.
        counter: the connection's own for this model.
    """

    prefix: bytes
    total: int
    head: RequestHead
    request: InferRequest
    name: str
    entry: Entry
    shapes: list[tuple[int, ...]]
    answer: bytes
    body: int
    counter: Counter

    def feeds(self, buffer: bytearray, regions: Regions) -> dict[str, Value]:
        """The input values of a request that lies at the start of `buffer`."""
        tensors = buffer[len(self.prefix) : self.total]
        request = self.request
        if request.direct:
            return {
                slot.name: np.ndarray(slot.shape, slot.dtype, tensors, slot.offset)
                for slot in request.inputs
            }
        return read_inputs(request, memoryview(tensors), 0, regions)

    def fits(self, values: Sequence[Value]) -> bool:
        """Whether `answer` is the beginning of the answer with these outputs."""
        return [value.shape for value in values] == self.shapes  # type: ignore[union-attr]  # arrays

    @staticmethod
    def allowed(request: InferRequest, values: Sequence[Value], response: InferResponse) -> bool:
        """Whether a request with these outputs can be remembered: all of them in the body."""
        return (
            request.output_region is None
            and len(response.buffers) == len(values)
            and all(slot.nbytes for slot in request.inputs)
            and all(isinstance(each, np.ndarray) and not each.dtype.hasobject for each in values)
        )
