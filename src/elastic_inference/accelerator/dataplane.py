"""What an accelerator can do, independent of how it is asked.

One implementation stands behind every front end; they translate and delegate.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from elastic_inference._version import __version__
from elastic_inference.accelerator import metrics
from elastic_inference.accelerator.clients import Clients, ClientSession
from elastic_inference.accelerator.config import AcceleratorConfig
from elastic_inference.accelerator.engines.base import Engine
from elastic_inference.accelerator.engines.selection import TENSORFLOW, engine_of, engines
from elastic_inference.accelerator.health import HealthCheck
from elastic_inference.accelerator.memory import MemoryAccount
from elastic_inference.accelerator.models import Entry, ModelRegistry
from elastic_inference.accelerator.options import parse_files, parse_options
from elastic_inference.accelerator.profiles import MAX_RUNS, Profiler
from elastic_inference.accelerator.regions import SystemRegions
from elastic_inference.accelerator.rights import NEXT_STEP, WITHDRAWN, Rights
from elastic_inference.accelerator.statistics import Counter, Statistics, triton_statistics
from elastic_inference.accelerator.store import BlobStore
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    AuthenticationError,
    ElasticInferenceError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.protocol import tokens
from elastic_inference.protocol.host import boot_id
from elastic_inference.protocol.http import response_head
from elastic_inference.protocol.inference import (
    VERSION,
    NoRegions,
    parse_infer_request,
    read_inputs,
    unknown_region,
)
from elastic_inference.protocol.json_object import parse_object
from elastic_inference.protocol.tensors import Buffer

EXTENSIONS = (
    "binary_tensor_data",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "statistics",
    "system_shared_memory",
    "elastic_inference",
)
_MAX_NAME = 256


class DataPlane:
    """One accelerator's operations.

    Attributes:
        id: the accelerator's.
        token_key: what its tokens are signed with.
        rights: the rights to connect that were withdrawn, and who lives by the others.
        health: whether it really infers.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        engine: Engine,
        store: BlobStore,
        memory: MemoryAccount,
        models: ModelRegistry,
    ) -> None:
        self.config = config
        self.id = config.accelerator_id
        self.token_key = bytes.fromhex(config.token_key)
        self.rights = Rights(config.revoked)
        self.engine = engine
        self.store = store
        self.memory = memory
        self.models = models
        self.health = HealthCheck(engine.check, lambda: bool(memory.running), memory.thread_started)
        self.profiler = Profiler(engine, memory, store)
        self.statistics = Statistics()
        self.system_regions = SystemRegions(config.limits.max_regions)
        self.clients = Clients(
            self.system_regions, config.limits.max_regions, models.client_back, models.client_gone
        )
        self._draining = False

    # Life

    @property
    def ready(self) -> bool:
        return not self._draining

    def start_draining(self) -> None:
        """Refuse new work from now on; what runs goes on."""
        self._draining = True
        self.models.stop_preparing()

    def check_open(self) -> None:
        """Raise UnavailableError once the accelerator is draining."""
        if self._draining:
            raise self.shutting_down()

    def tick(self) -> None:
        """Called now and then: end leases whose grace is over."""
        self.models.expire()

    def thread_started(self) -> None:
        self.memory.thread_started()

    def thread_ended(self) -> None:
        self.memory.thread_ended()

    # Errors

    def unauthenticated(self, why: str) -> AuthenticationError:
        return tokens.refused(why, self.id)

    def withdrawn(self) -> AuthenticationError:
        return tokens.refused(WITHDRAWN, self.id, NEXT_STEP)

    def shutting_down(self) -> UnavailableError:
        return UnavailableError(
            "The accelerator is shutting down.", next_step="Connect again and repeat."
        )

    def out_of_memory(self) -> AcceleratorOutOfMemoryError:
        return AcceleratorOutOfMemoryError("Accelerator out of memory.")

    def error_answer(self, error: ElasticInferenceError, status: int, *, close: bool) -> bytes:
        """The whole HTTP answer that carries an error."""
        body = json.dumps(error.to_dict(), separators=(",", ":")).encode()
        return response_head(status, len(body), close=close) + body

    def no_settings(self, what: str) -> UnavailableError:
        """For the trace and logging extensions: as a Triton answers that was built without."""
        return UnavailableError(
            f"The accelerator does not offer {what} settings.",
            next_step="What it did is told at /v2/models/stats and /metrics.",
        )

    # Metadata

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "elastic-inference", "version": __version__, "extensions": EXTENSIONS}

    def describe(self) -> dict[str, Any]:
        """The accelerator itself; see docs/protocol.md."""
        return {
            "accelerator_id": self.id,
            "accelerator_type": self.config.accelerator_type,
            "account": self.config.account,
            "device": self.config.device,
            "threads": self.config.threads,
            "memory": {
                "limit": self.memory.limit,
                "used": self.memory.used(),
                "peak": self.memory.peak,
            },
            "engine": {
                "name": self.engine.name,
                "version": self.engine.version,
                "providers": list(self.engine.providers),
                "domains": dict(self.engine.domains),
            },
            "engines": list(engines(self.engine.name)),
            "models": len(self.models),
            "preparing": self.models.preparing,
            "version": __version__,
            "pid": os.getpid(),
            "boot_id": boot_id(),
        }

    def check_version(self, path: tuple[str, ...]) -> str:
        """The version that a path `v2/models/NAME[/versions/V]/…` names, which can only be 1."""
        if len(path) > 4 and path[4] != VERSION:
            raise NotFoundError(
                f"Model {path[2][:100]!r} has no version {path[4][:20]!r}.",
                next_step=f"Its version is {VERSION}.",
            )
        return VERSION

    def model(self, name: str, version: str) -> Entry:
        """The model that a request names; "" is any version.

        Raises:
            NotFoundError: there is no such model, or no such version of it.
        """
        if version not in ("", VERSION):
            self.check_version(("v2", "models", name, "versions", version))
        return self.models.get(name)

    def model_metadata(self, name: str, version: str) -> dict[str, Any]:
        entry = self.model(name, version)
        return {
            "name": name,
            "versions": [VERSION],
            "platform": self._platform(entry),
            "inputs": [spec.to_dict(extended=False) for spec in entry.model.inputs],
            "outputs": [spec.to_dict(extended=False) for spec in entry.model.outputs],
        }

    def _platform(self, entry: Entry) -> str:
        """Triton's name of what a model is."""
        engine = engine_of(entry.source.main, self.engine.name)
        return f"{engine}_{'graphdef' if engine == TENSORFLOW else 'onnx'}"

    def model_ready(self, name: str, version: str) -> bool:
        try:
            self.model(name, version)
        except NotFoundError:
            return False
        return self.ready

    def model_config(self, name: str, version: str) -> dict[str, Any]:
        """The configuration extension's answer, in Triton's field names."""
        entry = self.model(name, version)

        def tensors(kind: str) -> list[dict[str, Any]]:
            return [
                {
                    "name": spec.name,
                    "data_type": "TYPE_"
                    + ("STRING" if spec.datatype == "BYTES" else spec.datatype),
                    "dims": list(spec.shape or (-1,)),
                }
                for spec in getattr(entry.model, kind)
            ]

        return {
            "name": name,
            "platform": self._platform(entry),
            "backend": engine_of(entry.source.main, self.engine.name),
            "max_batch_size": 0,
            "input": tensors("inputs"),
            "output": tensors("outputs"),
        }

    # Statistics

    def statistics_of(self, name: str, version: str = "") -> dict[str, Any]:
        """The statistics extension's answer for one model, or for all loaded if `name` is ""."""
        counters = self.statistics.by_model()
        if name:
            self.model(name, version)
        names = [name] if name else sorted(self.models.names())
        return {
            "model_stats": [
                triton_statistics(each, VERSION, counters.get(each, Counter())) for each in names
            ]
        }

    def metrics(self) -> str:
        return metrics.render(self)

    # The repository

    def repository_index(self, *, ready_only: bool) -> list[dict[str, Any]]:
        return self.models.index(ready_only=ready_only)

    def load(self, document: Mapping[str, Any], session: ClientSession) -> dict[str, Any]:
        """Load a model of uploaded files and give the client a lease on it."""
        self.check_open()
        files, main = parse_files(document.get("files"), document.get("main"))
        raw_options = document.get("options", {})
        options = parse_options(raw_options, self.config.threads)
        loaded = self.models.load(files, main, options, session.name, raw_options=raw_options)
        model = loaded.model
        return {
            "name": loaded.handle,
            "inputs": [spec.to_dict() for spec in model.inputs],
            "outputs": [spec.to_dict() for spec in model.outputs],
            "metadata": dict(model.metadata),
            "providers": list(model.providers),
            "source": loaded.source,
            "load_ns": loaded.load_ns,
        }

    def load_named(self, name: str, parameters: Mapping[str, Any]) -> None:
        """The repository extension's load, with the model's files in `file:` parameters.

        Args:
            parameters: files as bytes, or in base64.
        """
        self.check_open()
        if not 0 < len(name) <= _MAX_NAME:
            raise InvalidRequestError("A model's name has from 1 to 256 characters.")
        files = {}
        for key, value in parameters.items():
            if key.startswith("file:"):
                files[key.removeprefix("file:")] = _decode_file(key, value)
        config = parameters.get("config", "{}")
        if not isinstance(config, str):
            raise InvalidRequestError('"config" must be JSON in a string.')
        self.models.load_named(name, files, config)

    def unload(self, name: str, session: ClientSession) -> None:
        self.models.unload(name, session.name)

    def profile(self, name: str, body: bytes, json_length: int) -> dict[str, Any]:
        """Record runs of a model; see "Profiling" in docs/protocol.md.

        Args:
            body: an inference request, JSON and binary tensors, with the number of runs in it.
        """
        self.check_open()
        raw, tensors = body[:json_length], body[json_length:]
        request = parse_infer_request(raw)
        runs = parse_object(raw).get("parameters", {}).get("elastic_inference_runs", 1)
        if type(runs) is not int or not 1 <= runs <= MAX_RUNS:
            raise InvalidRequestError(f"elastic_inference_runs is a number from 1 to {MAX_RUNS}.")
        if len(tensors) != request.binary_bytes:
            raise InvalidRequestError(
                f"The request announces {request.binary_bytes} bytes of tensors, "
                f"{len(tensors)} came."
            )
        entry = self.models.get(name)
        feeds = read_inputs(request, memoryview(tensors), 0, NoRegions())
        return self.profiler.profile(entry, request.signature, feeds, runs)

    # Shared memory that requests may name; `local`: the caller is of this host and user

    def system_memory(self, name: str | None, *, local: bool) -> list[dict[str, object]]:
        """The system shared memory extension's status, of one region or of all."""
        if local:
            return self.system_regions.status(name)
        if name is not None:
            raise unknown_region(name)
        return []

    def register_system_memory(
        self, name: str, place: tuple[object, object, object], *, local: bool
    ) -> None:
        """Register a segment; `place` is its key, offset and size in bytes."""
        if not local:
            raise InvalidRequestError(
                "Shared memory is for callers on the accelerator's host.",
                next_step="Send the tensors in the body.",
            )
        key, offset, size = place
        if (
            isinstance(key, str)
            and isinstance(offset, int)
            and isinstance(size, int)
            and bool not in (type(offset), type(size))
            and offset >= 0
        ):
            self.system_regions.register(name, key, offset, size)
        else:
            raise InvalidRequestError('A registration has "key", "offset" and "byte_size".')

    def unregister_system_memory(self, name: str | None, *, local: bool) -> None:
        """Forget one region or all; for who sees none there is nothing to forget."""
        if local:
            self.system_regions.unregister(name)

    def device_memory(self, name: str | None) -> list[dict[str, object]]:
        """The CUDA shared memory extension's status: there is no region to tell of."""
        if name is not None:
            raise NotFoundError(f"There is no CUDA shared memory region {name[:100]!r}.")
        return []

    def register_device_memory(self) -> None:
        """Refuse to register device memory."""
        raise InvalidRequestError(
            "CUDA shared memory is not offered.",
            next_step="Use system shared memory, or send the tensors in the body.",
        )

    # Files

    def blob_status(self, digest: str) -> dict[str, Any]:
        offset, complete = self.store.status(digest)
        return {"complete": complete, "offset": offset}

    def append_blob(
        self, digest: str, start: int, total: int, chunks: Iterator[Buffer]
    ) -> dict[str, Any]:
        self.check_open()
        offset, complete = self.store.append(digest, start, total, chunks)
        return {"complete": complete, "offset": offset}


def _decode_file(key: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise InvalidRequestError(f"{key[:100]!r} must be base64 in a string.")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError(f"{key[:100]!r} is not base64.") from None
