"""How deep a model's functions nest control flow.

A file can nest graphs only as deep as protobuf allows. Functions, which the engine puts in the
place of their calls, get round that bound, and the engine runs nested graphs by recursion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from elastic_inference.errors import ModelFormatError
from elastic_inference.protocol.wireformat import BYTES, Source, Span, fields

MAX_NESTING = 32
_Name: TypeAlias = tuple[bytes, bytes]


@dataclass(slots=True)
class _Body:
    """What a graph or function does: how deep its own graphs nest, and which calls lie where."""

    nesting: int = 0
    calls: dict[_Name, int] = field(default_factory=dict)


def check_nesting(data: Source) -> None:
    """Check the model `data`, whose wire format is known to be sound.

    Raises:
        ModelFormatError: functions call themselves, or nest more than `MAX_NESTING` graphs.
    """
    main = _Body()
    functions: dict[_Name, _Body] = {}
    for number, wire, span in fields(data, (0, len(data))):
        if wire == BYTES and number == 7:
            _graph(data, span, main, 0)
        elif wire == BYTES and number == 25:
            # Overloads of one name are taken together: the deepest counts.
            _function(data, span, functions)
    if _depth(main, functions) > MAX_NESTING:
        raise _too_deep()


def _too_deep() -> ModelFormatError:
    return ModelFormatError(f"The model nests more than {MAX_NESTING} graphs.")


def _function(data: Source, span: Span, functions: dict[_Name, _Body]) -> None:
    name = domain = b""
    nodes = []
    for number, wire, inner in fields(data, span):
        if wire != BYTES:
            continue
        if number == 1:
            name = data[inner[0] : inner[1]]
        elif number == 10:
            domain = data[inner[0] : inner[1]]
        elif number == 7:
            nodes.append(inner)
    body = functions.setdefault((_plain(domain), name), _Body())
    for node in nodes:
        _node(data, node, body, 0)


def _graph(data: Source, span: Span, body: _Body, level: int) -> None:
    if level > MAX_NESTING:
        raise _too_deep()
    body.nesting = max(body.nesting, level)
    for number, wire, inner in fields(data, span):
        if number == 1 and wire == BYTES:
            _node(data, inner, body, level)


def _node(data: Source, span: Span, body: _Body, level: int) -> None:
    operator = domain = b""
    for number, wire, inner in fields(data, span):
        if wire != BYTES:
            continue
        if number == 4:
            operator = data[inner[0] : inner[1]]
        elif number == 7:
            domain = data[inner[0] : inner[1]]
        elif number == 5:
            for graph in _graphs(data, inner):
                _graph(data, graph, body, level + 1)
    call = (_plain(domain), operator)
    body.calls[call] = max(level, body.calls.get(call, 0))


def _plain(domain: bytes) -> bytes:
    return b"" if domain == b"ai.onnx" else domain


def _graphs(data: Source, attribute: Span) -> Iterator[Span]:
    for number, wire, inner in fields(data, attribute):
        if wire == BYTES and number in (6, 11):
            yield inner


def _depth(main: _Body, functions: dict[_Name, _Body]) -> int:
    """The deepest nesting of `main` with its calls followed, without recursion of its own."""
    known: dict[int, int] = {}
    open_: set[int] = set()
    stack = [main]
    while stack:
        body = stack[-1]
        called = [(functions[name], at) for name, at in body.calls.items() if name in functions]
        waiting = [inner for inner, _ in called if id(inner) not in known]
        if waiting:
            open_.add(id(body))
            if any(id(inner) in open_ for inner in waiting):
                raise ModelFormatError("A function of the model calls itself.")
            stack.append(waiting[0])
            continue
        stack.pop()
        open_.discard(id(body))
        known[id(body)] = max([body.nesting, *(at + known[id(inner)] for inner, at in called)])
    return known[id(main)]
