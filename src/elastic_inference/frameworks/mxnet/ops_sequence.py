"""Recurrent layers, and operators on sequences of different lengths."""

from __future__ import annotations

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    Attributes,
    boolean,
    choice,
    declare,
    integer,
    number,
)
from elastic_inference.frameworks.mxnet.emit import TO_THE_START, Emit
from elastic_inference.frameworks.mxnet.rules import Shapes, Types, first_dtype, like_first
from elastic_inference.frameworks.mxnet.table import operator

_GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}
# The order of ONNX's gates among MXNet's: input, output, forget, cell; update, reset, hidden.
_MOST_LAYERS = 1024
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


def _rnn_inputs(a: Attributes) -> tuple[str, ...]:
    names = ["data", "parameters", "state"]
    if a.mode == "lstm":
        names.append("state_cell")
    if a.use_sequence_length:
        names.append("sequence_length")
    return tuple(names)


def _rnn_outputs(a: Attributes) -> int:
    if not a.state_outputs:
        return 1
    return 3 if a.mode == "lstm" else 2


def _directions(a: Attributes) -> int:
    return 2 if a.bidirectional else 1


def _parameter_count(a: Attributes, width: int) -> int:
    gates, size, directions = _GATES[a.mode], a.state_size, _directions(a)
    first = gates * size * (width + size + 2)
    later = gates * size * (size * directions + size + 2)
    return int(directions * (first + (a.num_layers - 1) * later))


def _rnn_shapes(s: Shapes) -> None:
    a, data = s.a, s.inputs[0]
    if a.projection_size is not None:
        raise s.refuse("projection_size is not supported")
    if not 1 <= a.num_layers <= _MOST_LAYERS or a.state_size < 1:
        raise s.refuse("num_layers and state_size must be at least 1, and not too large")
    if data is None:
        return
    if len(data) != 3:
        raise s.refuse("Input data should be rank-3 tensor of dim [sequence length, batch, input]")
    directions = _directions(a)
    time, batch, width = data
    state = (directions * a.num_layers, batch, a.state_size)
    s.expect(1, (_parameter_count(a, width) if width else 0,))
    s.expect(2, state)
    if a.mode == "lstm":
        s.expect(3, state)
    if a.use_sequence_length:
        s.expect(len(s.inputs) - 1, (batch,))
    s.give((time, batch, directions * a.state_size))
    for index in range(1, len(s.outputs)):
        s.give(state, index)


def _rnn_types(t: Types) -> None:
    found = t.inputs[0] or t.outputs[0]
    lengths = len(t.inputs) - 1 if t.a.use_sequence_length else len(t.inputs)
    for index in range(lengths):
        t.expect(index, found)
    t.expect(lengths, np.int32)
    for index in range(len(t.outputs)):
        t.give(found, index)


@operator(
    "RNN",
    "_npx_rnn",
    inputs=_rnn_inputs,
    parameters=declare(
        state_size=integer(),
        num_layers=integer(),
        bidirectional=boolean(False),
        mode=choice(("gru", "lstm", "rnn_relu", "rnn_tanh")),
        p=number(0.0),
        state_outputs=boolean(False),
        projection_size=integer(None),
        lstm_state_clip_min=number(None),
        lstm_state_clip_max=number(None),
        lstm_state_clip_nan=boolean(False),
        use_sequence_length=boolean(False),
    ),
    shapes=_rnn_shapes,
    types=_rnn_types,
    outputs=_rnn_outputs,
    output_names=("output", "state_output", "statecell_output"),
)
def _rnn(e: Emit) -> list[str]:
    if e.a.lstm_state_clip_min is not None or e.a.lstm_state_clip_max is not None:
        raise e.refuse("lstm_state_clip is not supported")
    weights = _Weights(e)
    x, hidden, cells = e.x, [], []
    for layer in range(e.a.num_layers):
        x, last, cell = _layer(e, x, layer, weights)
        hidden.append(last)
        cells.append(cell)
    if not e.a.state_outputs:
        return [x]
    states = [e.concat(hidden, 0)]
    return [x, *states, e.concat(cells, 0)] if e.a.mode == "lstm" else [x, *states]


def _layer(e: Emit, x: str, layer: int, weights: _Weights) -> tuple[str, str, str]:
    """Results, last hidden state and last cell state of a layer."""
    a, directions = e.a, _directions(e.a)
    time, batch, _ = e.shape
    whole = directions * a.num_layers
    span = ([layer * directions], [(layer + 1) * directions], [0])
    states = [e.inputs[2] if whole == directions else e.slice(e.inputs[2], *span)]
    if a.mode == "lstm":
        states.append(e.inputs[3] if whole == directions else e.slice(e.inputs[3], *span))
    lengths = e.cast(e.inputs[-1], np.int32) if a.use_sequence_length else ""
    kind = {"lstm": "LSTM", "gru": "GRU"}.get(a.mode, "RNN")
    activations = {"rnn_relu": "Relu", "rnn_tanh": "Tanh"}.get(a.mode)
    y, last, *cell = e.several(
        kind, x, *weights.of_layer(layer), lengths, *states,
        count=3 if a.mode == "lstm" else 2,
        hidden_size=a.state_size,
        direction="bidirectional" if a.bidirectional else "forward",
        activations=None if activations is None else [activations] * directions,
        linear_before_reset=1 if a.mode == "gru" else None,
    )  # fmt: skip
    y = e.transpose(y, (0, 2, 1, 3))
    return e.reshape(y, (time, batch, directions * a.state_size)), last, cell[0] if cell else last


class _Weights:
    """The one vector of parameters: all matrices, layer by layer, and then all biases."""

    def __init__(self, e: Emit) -> None:
        self._e = e
        self._at = 0
        self._gates = _GATES[e.a.mode]
        directions = _directions(e.a)
        widths = [e.shape[2]] + [e.a.state_size * directions] * (e.a.num_layers - 1)
        self._matrices = [
            [(self._matrix(width), self._matrix(e.a.state_size)) for _ in range(directions)]
            for width in widths
        ]
        self._biases = [
            [(self._vector(), self._vector()) for _ in range(directions)] for _ in widths
        ]

    def of_layer(self, layer: int) -> tuple[str, str, str]:
        """Input weights, recurrent weights and biases as ONNX wants them."""
        e = self._e
        matrices, biases = self._matrices[layer], self._biases[layer]
        both = [e.unsqueeze(e.concat(pair, 0), [0]) for pair in biases]
        return (
            e.concat([e.unsqueeze(first, [0]) for first, _ in matrices], 0),
            e.concat([e.unsqueeze(second, [0]) for _, second in matrices], 0),
            e.concat(both, 0),
        )

    def _matrix(self, width: int) -> str:
        size = self._e.a.state_size
        return self._ordered(self._gates * size * width, (self._gates * size, width))

    def _vector(self) -> str:
        size = self._gates * self._e.a.state_size
        return self._ordered(size, (size,))

    def _ordered(self, count: int, shape: tuple[int, ...]) -> str:
        e = self._e
        part = e.slice(e.inputs[1], [self._at], [self._at + count], [0])
        self._at += count
        found = e.reshape(part, shape)
        order = _ORDER.get(e.a.mode)
        if order is None:
            return found
        gates = e.split(found, [e.a.state_size] * self._gates, 0)
        return e.concat([gates[gate] for gate in order], 0)


def _sequence_inputs(a: Attributes) -> tuple[str, ...]:
    return ("data", "sequence_length") if a.use_sequence_length else ("data",)


def _time_and_batch(e: Emit) -> tuple[int, int]:
    """The axes of both."""
    return (1, 0) if e.a.axis == 1 else (0, 1)


def _lengths_known(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        if len(data) < 2:
            raise s.refuse("sequences need at least two axes")
        s.expect(1, (data[0 if s.a.axis == 1 else 1],))


def _same_sequence(s: Shapes) -> None:
    like_first(s)
    _lengths_known(s)


def _wide(e: Emit, x: str, axis: int, size: int) -> str:
    """A vector along one axis of the data."""
    return e.reshape(x, [size if at == axis else 1 for at in range(e.rank)])


@operator(
    "SequenceMask",
    "_npx_sequence_mask",
    inputs=_sequence_inputs,
    parameters=declare(use_sequence_length=boolean(False), value=number(0.0), axis=integer(0)),
    shapes=_same_sequence,
    types=first_dtype,
)
def _sequence_mask(e: Emit) -> str:
    if not e.a.use_sequence_length:
        return e.x
    time, batch = _time_and_batch(e)
    places = _wide(e, e.constant(np.arange(e.shape[time]), np.int64), time, e.shape[time])
    lengths = _wide(e, e.cast(e.inputs[1], np.int64), batch, e.shape[batch])
    return e.add("Where", e.add("Less", places, lengths), e.x, e.constant(e.a.value))


def _sequence_last_shapes(s: Shapes) -> None:
    _lengths_known(s)
    data = s.inputs[0]
    if data is not None:
        time = 1 if s.a.axis == 1 else 0
        s.give((*data[:time], *data[time + 1 :]))


@operator(
    "SequenceLast",
    inputs=_sequence_inputs,
    parameters=declare(use_sequence_length=boolean(False), axis=integer(0)),
    shapes=_sequence_last_shapes,
    types=first_dtype,
)
def _sequence_last(e: Emit) -> str:
    time, batch = _time_and_batch(e)
    if not e.a.use_sequence_length:
        last = e.slice(e.x, [-1], [e.shape[time]], [time])
        return e.reshape(last, e.out_shape)
    one = e.constant(1, np.int64)
    places = _wide(e, e.add("Sub", e.cast(e.inputs[1], np.int64), one), batch, e.shape[batch])
    wide = [1 if axis == time else size for axis, size in enumerate(e.shape)]
    found = e.add("GatherElements", e.x, e.expand(places, wide), axis=time)
    return e.reshape(found, e.out_shape)


@operator(
    "SequenceReverse",
    inputs=_sequence_inputs,
    parameters=declare(use_sequence_length=boolean(False), axis=integer(0)),
    shapes=_same_sequence,
    types=first_dtype,
)
def _sequence_reverse(e: Emit) -> str:
    if not e.a.use_sequence_length:
        return e.slice(e.x, [-1], [TO_THE_START], [0], [-1])
    return e.add("ReverseSequence", e.x, e.cast(e.inputs[1], np.int64), time_axis=0, batch_axis=1)
