"""What each call of the gRPC interface does.

Each handler takes an `Rpc` and the request's message, and answers the parts of the response's
message; errors are raised and become the call's status in one place, the transport.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from elastic_inference.accelerator.causes import cause_of
from elastic_inference.accelerator.rpc import Method, Rpc
from elastic_inference.errors import NotFoundError
from elastic_inference.protocol.grpc_inference import (
    KnownRequest,
    Parts,
    read_request,
    stream_error,
    stream_response,
)
from elastic_inference.protocol.grpc_messages import (
    DATA_TYPES,
    HEALTH_SERVICE,
    INFERENCE_SERVICE,
    MESSAGES,
    NOT_SERVING,
    SERVICE_UNKNOWN,
    SERVING,
)
from elastic_inference.protocol.protobuf import decode, encode
from elastic_inference.protocol.tensors import Buffer

_Document: TypeAlias = "dict[str, Any]"
_Answer: TypeAlias = "Callable[[Rpc, _Document], _Document]"

_SERVICES = ("", INFERENCE_SERVICE, HEALTH_SERVICE)
_HEALTH = MESSAGES["HealthCheckResponse"]


def find(path: str) -> Method:
    """The method at `/SERVICE/NAME`.

    Raises:
        NotFoundError: there is none.
    """
    method = _METHODS.get(path)
    if method is None:
        raise NotFoundError(f"There is no method {path[:200]!r}.")
    return method


# Inference


def _infer(rpc: Rpc, message: Buffer) -> Parts:
    request, shift, id_field = read_request(message)
    return _run(rpc, message, request, shift, id_field)


def _infer_in_stream(rpc: Rpc, message: Buffer) -> Parts:
    id_field = b""
    rpc.model, rpc.computed, rpc.failed = "", 0.0, False
    try:
        request, shift, id_field = read_request(message)
        return stream_response(_run(rpc, message, request, shift, id_field))
    except Exception as error:
        # As with Triton, a client may ask for the call's status in place of an error's text.
        if rpc.metadata.get("triton_grpc_error") == "true":
            raise
        cause = cause_of(error, rpc.plane)
        rpc.failed = True
        return stream_error(f"{cause.message} {cause.next_step}".rstrip(), id_field)


def _run(rpc: Rpc, message: Buffer, request: KnownRequest, shift: int, id_field: bytes) -> Parts:
    plane = rpc.plane
    plane.check_open()
    name = request.name
    entry = plane.model(name, request.version)
    rpc.model = name
    rpc.align_at = request.align_at + shift if request.align_at else 0
    names = request.request.output_names
    feeds = request.inputs(message, shift, rpc.regions)
    values = entry.run(request.request.signature, feeds, names)
    rpc.computed = time.monotonic()
    return request.respond(entry.handle, entry.specs(names), values, rpc.regions, id_field)


# The server and its models


def _live(_: Rpc, __: _Document) -> _Document:
    return {"live": True}


def _ready(rpc: Rpc, _: _Document) -> _Document:
    return {"ready": rpc.plane.ready}


def _server(rpc: Rpc, _: _Document) -> _Document:
    return rpc.plane.server_metadata()


def _model_ready(rpc: Rpc, request: _Document) -> _Document:
    return {"ready": rpc.plane.model_ready(_name(request), _version(request))}


def _model(rpc: Rpc, request: _Document) -> _Document:
    return rpc.plane.model_metadata(_name(request), _version(request))


def _model_config(rpc: Rpc, request: _Document) -> _Document:
    config = rpc.plane.model_config(_name(request), _version(request))
    for entry in (*config["input"], *config["output"]):
        entry["data_type"] = DATA_TYPES.get(entry["data_type"], DATA_TYPES["TYPE_INVALID"])
    return {"config": config}


def _statistics(rpc: Rpc, request: _Document) -> _Document:
    return rpc.plane.statistics_of(_name(request), _version(request))


def _name(request: _Document) -> str:
    return str(request.get("name", ""))


def _version(request: _Document) -> str:
    return str(request.get("version", ""))


# The repository


def _index(rpc: Rpc, request: _Document) -> _Document:
    return {"models": rpc.plane.repository_index(ready_only=request.get("ready", False))}


def _load(rpc: Rpc, request: _Document) -> _Document:
    rpc.plane.load_named(request.get("model_name", ""), request.get("parameters", {}))
    return {}


def _unload(rpc: Rpc, request: _Document) -> _Document:
    rpc.plane.unload(request.get("model_name", ""), rpc.session)
    return {}


# Shared memory, and what is not offered


def _system_memory_status(rpc: Rpc, request: _Document) -> _Document:
    found = rpc.plane.system_memory(_name(request) or None, local=rpc.peer.is_local)
    return {"regions": {entry["name"]: entry for entry in found}}


def _system_memory_register(rpc: Rpc, request: _Document) -> _Document:
    place = (request.get("key", ""), request.get("offset", 0), request.get("byte_size", 0))
    rpc.plane.register_system_memory(_name(request), place, local=rpc.peer.is_local)
    return {}


def _system_memory_unregister(rpc: Rpc, request: _Document) -> _Document:
    rpc.plane.unregister_system_memory(_name(request) or None, local=rpc.peer.is_local)
    return {}


def _device_memory_status(rpc: Rpc, request: _Document) -> _Document:
    rpc.plane.device_memory(_name(request) or None)
    return {}


def _device_memory_register(rpc: Rpc, _: _Document) -> _Document:
    rpc.plane.register_device_memory()
    return {}


def _nothing(_: Rpc, __: _Document) -> _Document:
    return {}


def _no_settings(what: str, rpc: Rpc, _: _Document) -> _Document:
    raise rpc.plane.no_settings(what)


# Health


def _check(rpc: Rpc, request: _Document) -> _Document:
    service = str(request.get("service", ""))
    if service not in _SERVICES:
        raise NotFoundError(f"There is no service {service[:200]!r}.")
    return {"status": _status(rpc, service)}


def _status(rpc: Rpc, service: str) -> int:
    if service not in _SERVICES:
        return SERVICE_UNKNOWN
    return SERVING if rpc.plane.ready else NOT_SERVING


def _watch(rpc: Rpc, message: Buffer) -> Iterator[Parts | None]:
    service = str(decode(MESSAGES["HealthCheckRequest"], message).get("service", ""))
    told = None
    while True:
        status = _status(rpc, service)
        yield None if status == told else [encode(_HEALTH, {"status": status})]
        told = status


def _method(answer: _Answer, request: str, response: str) -> Callable[[Rpc, Buffer], Parts]:
    """A handler that reads and writes the messages of those names."""
    reads, writes = MESSAGES[request], MESSAGES[response]
    return lambda rpc, message: [encode(writes, answer(rpc, decode(reads, message)))]


_METHODS: dict[str, Method] = {
    f"/{INFERENCE_SERVICE}/ModelInfer": Method("unary", _infer),
    f"/{INFERENCE_SERVICE}/ModelStreamInfer": Method("stream", _infer_in_stream),
    f"/{INFERENCE_SERVICE}/ServerLive": Method(
        "unary", _method(_live, "Empty", "ServerLiveResponse"), is_open=True
    ),
    f"/{HEALTH_SERVICE}/Check": Method(
        "unary", _method(_check, "HealthCheckRequest", "HealthCheckResponse"), is_open=True
    ),
    f"/{HEALTH_SERVICE}/Watch": Method("watch", _watch, is_open=True),
    **{
        f"/{INFERENCE_SERVICE}/{name}": Method("unary", _method(answer, request, response))
        for name, answer, request, response in (
            ("ServerReady", _ready, "Empty", "ServerReadyResponse"),
            ("ServerMetadata", _server, "Empty", "ServerMetadataResponse"),
            ("ModelReady", _model_ready, "ModelVersion", "ModelReadyResponse"),
            ("ModelMetadata", _model, "ModelVersion", "ModelMetadataResponse"),
            ("ModelConfig", _model_config, "ModelVersion", "ModelConfigResponse"),
            ("ModelStatistics", _statistics, "ModelVersion", "ModelStatisticsResponse"),
            ("RepositoryIndex", _index, "RepositoryIndexRequest", "RepositoryIndexResponse"),
            ("RepositoryModelLoad", _load, "RepositoryModelRequest", "Empty"),
            ("RepositoryModelUnload", _unload, "RepositoryModelRequest", "Empty"),
            (
                *("SystemSharedMemoryStatus", _system_memory_status),
                *("RegionName", "SystemSharedMemoryStatusResponse"),
            ),
            (
                *("SystemSharedMemoryRegister", _system_memory_register),
                *("SystemSharedMemoryRegisterRequest", "Empty"),
            ),
            ("SystemSharedMemoryUnregister", _system_memory_unregister, "RegionName", "Empty"),
            ("CudaSharedMemoryStatus", _device_memory_status, "RegionName", "Empty"),
            ("CudaSharedMemoryRegister", _device_memory_register, "RegionName", "Empty"),
            ("CudaSharedMemoryUnregister", _nothing, "RegionName", "Empty"),
            ("TraceSetting", partial(_no_settings, "trace"), "Empty", "Empty"),
            ("LogSettings", partial(_no_settings, "logging"), "Empty", "Empty"),
        )
    },
}
