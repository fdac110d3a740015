"""Where the time of a model's calls goes, on the accelerator and on the way to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from elastic_inference.client.http import json_of, object_of
from elastic_inference.client.link import Link
from elastic_inference.client.plan import Planner
from elastic_inference.errors import AcceleratorLostError, InvalidRequestError
from elastic_inference.protocol.tensors import Value

_MAX_RUNS = 1000


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node of the graph, as the engine runs it.

    Attributes:
        name, operator: of what the engine fused or added, the engine's own.
        provider: what ran it, e.g. `CPUExecutionProvider`.
        calls: in all recorded runs together.
        ns: per run, in nanoseconds; the engine counts whole microseconds.
        output_bytes, parameter_bytes: of its outputs and its weights.
    """

    name: str
    operator: str
    provider: str
    calls: int
    ns: int
    output_bytes: int
    parameter_bytes: int


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """All nodes of one operator: how many, and nanoseconds per run."""

    operator: str
    nodes: int
    ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What was measured. Times are means per call, in nanoseconds; sizes are bytes.

    Attributes:
        accelerator_id, accelerator_type: where.
        transport: `shm`, `unix`, `tls` or `tcp`.
        runs: usual calls that were measured.
        wall_ns: of a usual call, seen from here; it is the sum of the following four.
        receive_ns, compute_ns, send_ns: of a usual call, seen by the accelerator.
        overhead_ns: the rest: the way there and back, and the client.
        recorded_runs: runs that were recorded by operator, apart from the usual ones.
        recorded_ns: of a recorded run; recording makes it longer.
        load_ns: loading the model from its files, nothing prepared.
        model_bytes, activation_bytes: memory that loading and running took.
        memory_limit: of the accelerator.
        nodes: by falling time.
    """

    accelerator_id: str
    accelerator_type: str
    transport: str
    providers: tuple[str, ...]
    runs: int
    wall_ns: int
    receive_ns: int
    compute_ns: int
    send_ns: int
    overhead_ns: int
    recorded_runs: int
    recorded_ns: int
    load_ns: int
    model_bytes: int
    activation_bytes: int
    memory_limit: int
    nodes: tuple[NodeTime, ...]

    @property
    def operators(self) -> tuple[OperatorTime, ...]:
        """The nodes by operator, by falling time."""
        sums: dict[str, tuple[int, int]] = {}
        for node in self.nodes:
            count, ns = sums.get(node.operator, (0, 0))
            sums[node.operator] = (count + 1, ns + node.ns)
        rows = [OperatorTime(name, count, ns) for name, (count, ns) in sums.items()]
        return tuple(sorted(rows, key=lambda row: -row.ns))

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it, with the sums by operator."""
        return asdict(self) | {"operators": [asdict(row) for row in self.operators]}


def profile(
    link: Link,
    planner: Planner,
    run: Callable[[Mapping[str, Value]], object],
    feeds: Mapping[str, Value],
    runs: int,
) -> Profile:
    """See `Model.profile`."""
    if not 1 <= runs <= _MAX_RUNS:
        raise InvalidRequestError(f"runs is a number from 1 to {_MAX_RUNS}, not {runs}.")
    run(feeds)
    before = _statistics(link, planner.handle)
    began = time.perf_counter_ns()
    for _ in range(runs):
        run(feeds)
    wall = (time.perf_counter_ns() - began) // runs
    after = _statistics(link, planner.handle)
    # Whoever else uses the model meanwhile counts too; so these are means over all calls.
    calls = max(1, after["success"][0] - before["success"][0])
    receive, compute, send = (
        (after[key][1] - before[key][1]) // calls
        for key in ("compute_input", "compute_infer", "compute_output")
    )
    recorded = _record(link, planner, feeds, runs)
    try:
        memory = recorded["memory"]
        return Profile(
            accelerator_id=link.accelerator_id,
            accelerator_type=link.grant.accelerator_type
            or str(link.info.get("accelerator_type", "")),
            transport=link.transport,
            providers=tuple(recorded["providers"]),
            runs=runs,
            wall_ns=wall,
            receive_ns=receive,
            compute_ns=compute,
            send_ns=send,
            overhead_ns=max(0, wall - receive - compute - send),
            recorded_runs=recorded["runs"],
            recorded_ns=recorded["compute_ns"],
            load_ns=recorded["load_ns"],
            model_bytes=memory["model"],
            activation_bytes=memory["activations"],
            memory_limit=memory["limit"],
            nodes=tuple(NodeTime(**node) for node in recorded["nodes"]),
        )
    except (KeyError, TypeError) as error:
        raise AcceleratorLostError(
            f"The accelerator's profile is malformed: {error!r}.",
            next_step="Use the same version of elastic-inference on both sides.",
        ) from error


def _record(link: Link, planner: Planner, feeds: Mapping[str, Value], runs: int) -> dict[str, Any]:
    entries, buffers = planner.encode(feeds)
    document = {"inputs": entries, "parameters": {"elastic_inference_runs": runs}}
    raw = json.dumps(document, separators=(",", ":")).encode()
    body = b"".join((raw, *buffers))
    answer = link.call(
        lambda connection: connection.request(
            "POST",
            f"/v2/elastic-inference/models/{planner.handle}/profile",
            body,
            f"Inference-Header-Content-Length: {len(raw)}\r\n",
        ),
        timeout_ns=int(link.settings.load_timeout * 1e9),
    )
    return object_of(json_of(answer))


def _statistics(link: Link, handle: str) -> dict[str, tuple[int, int]]:
    """Calls and nanoseconds so far, by what took them."""
    answer = link.request("GET", f"/v2/models/{handle}/stats")
    try:
        entries = answer["model_stats"][0]["inference_stats"]
        return {key: (int(each["count"]), int(each["ns"])) for key, each in entries.items()}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise AcceleratorLostError(
            f"The accelerator's statistics are malformed: {error!r}."
        ) from error
