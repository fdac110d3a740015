"""All targets, by name."""

from __future__ import annotations

from importlib.util import find_spec

from tests.fuzz import aws, connections, graphs, handovers, loads, mxnet, parsers, rpcs, serving
from tests.fuzz.accelerator import Accelerator
from tests.fuzz.connections import OnAccelerator
from tests.fuzz.target import Target

PARSERS: dict[str, type[Target]] = {
    each.name: each
    for each in (
        parsers.Heads,
        parsers.Documents,
        parsers.Values,
        parsers.Hellos,
        parsers.Tokens,
        parsers.Fields,
        rpcs.Messages,
        rpcs.Headers,
        loads.ModelFiles,
        handovers.Handovers,
        mxnet.Params,
        mxnet.Symbols,
        serving.ServingMessages,
        serving.ServingJson,
        graphs.Interfaces,
        aws.AwsRequests,
        aws.AwsCbor,
        *((graphs.Graphs,) if find_spec("tensorflow") else ()),
    )
}
ON_ACCELERATOR: dict[str, type[OnAccelerator]] = {
    each.name: each
    for each in (
        connections.Connections,
        connections.Inferences,
        connections.Handshakes,
        rpcs.Frames,
        rpcs.Calls,
        loads.LoadRequests,
        loads.Loads,
    )
}
TARGETS: dict[str, type[Target]] = {**PARSERS, **ON_ACCELERATOR}


def make(name: str, accelerator: Accelerator | None = None) -> Target:
    """The target of that name; those of a whole accelerator attack the one that is given."""
    if name in PARSERS:
        return PARSERS[name]()
    assert accelerator is not None
    return ON_ACCELERATOR[name](accelerator)
