"""What each path of the HTTP interface does, except inference itself.

Each handler takes a `Call` and answers a `Reply`; errors are raised and become answers in
one place, `connection`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from elastic_inference.accelerator.clients import ClientSession
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.errors import InvalidRequestError, NotFoundError
from elastic_inference.protocol.content_range import parse_content_range
from elastic_inference.protocol.http import RequestHead
from elastic_inference.protocol.inference import unknown_region
from elastic_inference.protocol.json_object import parse_object


class Body(Protocol):
    """A request's body, read from the connection on demand."""

    def read(self) -> bytes:
        """All of it.

        Raises:
            PayloadTooLargeError: over the limit of ordinary bodies.
        """

    def chunks(self) -> Iterator[memoryview]:
        """Piece by piece, without a limit; a piece is valid until the next is asked for."""

    def receive_descriptor(self) -> int:
        """The one file descriptor that came with the one byte of the body.

        Raises:
            InvalidRequestError: not a Unix socket, or none came.
        """


class Peer(Protocol):
    """The other end of the connection."""

    @property
    def is_unix(self) -> bool:
        """It came by the Unix socket."""

    @property
    def is_local(self) -> bool:
        """It is on this host and of this user; looked up when first asked."""


@dataclass(slots=True)
class Call:
    """One request.

    Attributes:
        peer: tells whether the caller is on this host and of this user.
    """

    plane: DataPlane
    head: RequestHead
    body: Body
    session: ClientSession
    peer: Peer

    def json(self) -> dict[str, Any]:
        raw = self.body.read()
        if not raw:
            return {}
        return parse_object(raw, "The request's body")


@dataclass(slots=True)
class Reply:
    """What to answer."""

    document: Any = None
    status: int = 200
    text: str | None = None

    def encode(self) -> tuple[bytes, bytes]:
        """The body and its content type."""
        if self.text is not None:
            return self.text.encode(), b"text/plain; version=0.0.4; charset=utf-8"
        if self.document is None:
            return b"", b"application/json"
        return json.dumps(self.document, separators=(",", ":")).encode(), b"application/json"


Handler = Callable[[Call], Reply]


def find(head: RequestHead) -> Handler:
    """The handler of a request.

    Raises:
        NotFoundError: there is none for that method and path.
    """
    path = head.path
    wanted = "GET" if head.method == "HEAD" else head.method
    for (method, pattern), handler in _ROUTES.items():
        if method == wanted and _matches(pattern, path):
            return handler
    raise NotFoundError(f"There is nothing at {head.method} /{'/'.join(path)[:200]}.")


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return len(pattern) == len(path) and all(
        want in ("*", have) for want, have in zip(pattern, path, strict=True)
    )


def _live(_: Call) -> Reply:
    return Reply({"live": True})


def _ready(call: Call) -> Reply:
    ready = call.plane.ready
    return Reply({"live": True, "ready": ready}, status=200 if ready else 503)


def _server(call: Call) -> Reply:
    return Reply(call.plane.server_metadata())


def _model(call: Call) -> Reply:
    return Reply(call.plane.model_metadata(call.head.path[2], _version(call)))


def _model_ready(call: Call) -> Reply:
    name = call.head.path[2]
    ready = call.plane.model_ready(name, _version(call))
    return Reply({"name": name, "ready": ready}, status=200 if ready else 404)


def _model_config(call: Call) -> Reply:
    return Reply(call.plane.model_config(call.head.path[2], _version(call)))


def _model_statistics(call: Call) -> Reply:
    return Reply(call.plane.statistics_of(call.head.path[2], _version(call)))


def _all_statistics(call: Call) -> Reply:
    return Reply(call.plane.statistics_of(""))


def _version(call: Call) -> str:
    path = call.head.path
    return path[4] if len(path) > 4 and path[3] == "versions" else ""


def _index(call: Call) -> Reply:
    return Reply(call.plane.repository_index(ready_only=call.json().get("ready") is True))


def _load(call: Call) -> Reply:
    call.plane.load_named(call.head.path[3], _request_parameters(call))
    return Reply({})


def _unload(call: Call) -> Reply:
    call.json()
    call.plane.unload(call.head.path[3], call.session)
    return Reply({})


def _request_parameters(call: Call) -> dict[str, Any]:
    parameters = call.json().get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidRequestError('"parameters" must be an object.')
    return parameters


def _region(call: Call) -> str | None:
    path = call.head.path
    return path[3] if len(path) > 4 else None


def _system_memory_status(call: Call) -> Reply:
    return Reply(call.plane.system_memory(_region(call), local=call.peer.is_local))


def _system_memory_register(call: Call) -> Reply:
    document = call.json()
    place = (document.get("key"), document.get("offset", 0), document.get("byte_size", 0))
    call.plane.register_system_memory(call.head.path[3], place, local=call.peer.is_local)
    return Reply({})


def _system_memory_unregister(call: Call) -> Reply:
    call.plane.unregister_system_memory(_region(call), local=call.peer.is_local)
    return Reply({})


def _device_memory_status(call: Call) -> Reply:
    return Reply(call.plane.device_memory(_region(call)))


def _device_memory_register(call: Call) -> Reply:
    call.plane.register_device_memory()
    return Reply({})


def _device_memory_unregister(_: Call) -> Reply:
    return Reply({})


def _no_settings(call: Call) -> Reply:
    raise call.plane.no_settings("logging" if call.head.path[-1] == "logging" else "trace")


def _no_generation(_: Call) -> Reply:
    raise NotFoundError(
        "The generate extension is not offered.",
        next_step="Ask the model's infer endpoint for its tensors.",
    )


def _metrics(call: Call) -> Reply:
    return Reply(text=call.plane.metrics())


def _accelerator(call: Call) -> Reply:
    return Reply(call.plane.describe())


def _health(call: Call) -> Reply:
    report = {**call.plane.health.report(), "memoryUsed": call.plane.memory.used()}
    well = report["inference"] == report["device"] == "ok"
    return Reply(report, status=200 if well else 503)


def _usage(call: Call) -> Reply:
    return Reply(call.plane.statistics.usage())


def _add_usage(call: Call) -> Reply:
    document = call.json()
    calls, wall_ns = document.get("calls"), document.get("wall_ns")
    for value in (calls, wall_ns):
        if type(value) is not int or not 0 <= value < 1 << 62:
            raise InvalidRequestError('Usage has "calls" and "wall_ns", both from 0 on.')
    call.plane.statistics.add_client_usage(int(calls or 0), int(wall_ns or 0))
    return Reply({})


def _blob(call: Call) -> Reply:
    return Reply(call.plane.blob_status(call.head.path[3]))


def _put_blob(call: Call) -> Reply:
    start, total = parse_content_range(call.head.headers.get(b"content-range", b""))
    status = call.plane.append_blob(call.head.path[3], start, total, call.body.chunks())
    return Reply(status, status=201 if status["complete"] else 200)


def _load_handle(call: Call) -> Reply:
    return Reply(call.plane.load(call.json(), call.session))


def _profile(call: Call) -> Reply:
    body = call.body.read()
    length = call.head.json_length
    return Reply(
        call.plane.profile(call.head.path[3], body, len(body) if length is None else length)
    )


def _put_memory(call: Call) -> Reply:
    descriptor = call.body.receive_descriptor()
    return Reply({"byte_size": call.session.regions.add_memfd(call.head.path[3], descriptor)})


def _delete_memory(call: Call) -> Reply:
    if not call.peer.is_unix and not call.peer.is_local:
        raise unknown_region(call.head.path[3])
    call.session.regions.remove(call.head.path[3])
    return Reply({})


def _pattern(path: str) -> tuple[str, ...]:
    return tuple(segment for segment in path.split("/") if segment)


_ROUTES: dict[tuple[str, tuple[str, ...]], Handler] = {
    (method, _pattern(path)): handler
    for method, path, handler in (
        ("GET", "/v2/health/live", _live),
        ("GET", "/v2/health/ready", _ready),
        ("GET", "/v2", _server),
        ("GET", "/v2/models/stats", _all_statistics),
        ("GET", "/v2/models/*", _model),
        ("GET", "/v2/models/*/ready", _model_ready),
        ("GET", "/v2/models/*/config", _model_config),
        ("GET", "/v2/models/*/stats", _model_statistics),
        ("GET", "/v2/models/*/versions/*", _model),
        ("GET", "/v2/models/*/versions/*/ready", _model_ready),
        ("GET", "/v2/models/*/versions/*/config", _model_config),
        ("GET", "/v2/models/*/versions/*/stats", _model_statistics),
        ("POST", "/v2/repository/index", _index),
        ("POST", "/v2/repository/models/*/load", _load),
        ("POST", "/v2/repository/models/*/unload", _unload),
        ("GET", "/v2/systemsharedmemory/status", _system_memory_status),
        ("GET", "/v2/systemsharedmemory/region/*/status", _system_memory_status),
        ("POST", "/v2/systemsharedmemory/region/*/register", _system_memory_register),
        ("POST", "/v2/systemsharedmemory/region/*/unregister", _system_memory_unregister),
        ("POST", "/v2/systemsharedmemory/unregister", _system_memory_unregister),
        ("GET", "/v2/cudasharedmemory/status", _device_memory_status),
        ("GET", "/v2/cudasharedmemory/region/*/status", _device_memory_status),
        ("POST", "/v2/cudasharedmemory/region/*/register", _device_memory_register),
        ("POST", "/v2/cudasharedmemory/region/*/unregister", _device_memory_unregister),
        ("POST", "/v2/cudasharedmemory/unregister", _device_memory_unregister),
        ("GET", "/v2/logging", _no_settings),
        ("POST", "/v2/logging", _no_settings),
        ("GET", "/v2/trace/setting", _no_settings),
        ("POST", "/v2/trace/setting", _no_settings),
        ("GET", "/v2/models/*/trace/setting", _no_settings),
        ("POST", "/v2/models/*/trace/setting", _no_settings),
        ("POST", "/v2/models/*/generate", _no_generation),
        ("POST", "/v2/models/*/generate_stream", _no_generation),
        ("POST", "/v2/models/*/versions/*/generate", _no_generation),
        ("POST", "/v2/models/*/versions/*/generate_stream", _no_generation),
        ("GET", "/metrics", _metrics),
        ("GET", "/v2/elastic-inference/accelerator", _accelerator),
        ("GET", "/v2/elastic-inference/health", _health),
        ("GET", "/v2/elastic-inference/usage", _usage),
        ("POST", "/v2/elastic-inference/usage", _add_usage),
        ("GET", "/v2/elastic-inference/blobs/*", _blob),
        ("PUT", "/v2/elastic-inference/blobs/*", _put_blob),
        ("POST", "/v2/elastic-inference/models", _load_handle),
        ("POST", "/v2/elastic-inference/models/*/profile", _profile),
        ("PUT", "/v2/elastic-inference/memory/*", _put_memory),
        ("DELETE", "/v2/elastic-inference/memory/*", _delete_memory),
    )
}
