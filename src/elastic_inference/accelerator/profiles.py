"""Where the time of a model goes: runs of it that are recorded, beside its usual ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from elastic_inference.accelerator.engines.base import Engine, ModelFiles, ProfiledModel
from elastic_inference.accelerator.memory import MemoryAccount
from elastic_inference.accelerator.models import Entry
from elastic_inference.accelerator.store import Assembled, BlobStore
from elastic_inference.errors import InternalError, LimitExceededError
from elastic_inference.protocol.tensors import Value

MAX_RUNS = 1000
# More runs of a model that is slow tell nothing more.
_LONGEST = 20.0


class Profiler:
    """Profiles an accelerator's models, one at a time.

    Each is loaded once more for that, so that the usual calls are not slowed down; the copy
    counts against the accelerator's memory while it lasts.
    """

    def __init__(self, engine: Engine, account: MemoryAccount, store: BlobStore) -> None:
        self._engine = engine
        self._account = account
        self._store = store
        self._busy = threading.Lock()

    def profile(
        self, entry: Entry, signature: str, feeds: Mapping[str, Value], runs: int
    ) -> dict[str, Any]:
        """Run the model `runs` times after a first one that does not count.

        Returns:
            The answer that docs/protocol.md describes under "Profiling".

        Raises:
            LimitExceededError: another profile is being made.
            NotFoundError: the model was unloaded meanwhile.
            what a load and a run do.
        """
        if not self._busy.acquire(blocking=False):
            raise LimitExceededError(
                "Another profile is being made on this accelerator.",
                next_step="Repeat the request when it is done.",
            )
        try:
            source = entry.source
            assembled = self._store.assemble(source.files)
            try:
                files = ModelFiles(
                    entry.handle, assembled.directory, source.main, None, assembled.size
                )
                return self._profile(entry, files, assembled, signature, feeds, runs)
            finally:
                assembled.release()
        finally:
            self._busy.release()

    def _profile(
        self,
        entry: Entry,
        files: ModelFiles,
        assembled: Assembled,
        signature: str,
        feeds: Mapping[str, Value],
        runs: int,
    ) -> dict[str, Any]:
        account = self._account
        before = account.used()
        began = time.monotonic_ns()
        guarded = account.load(
            files.size,
            lambda: self._engine.load_profiled(files, entry.source.options, assembled.directory),
        )
        try:
            load_ns, loaded = time.monotonic_ns() - began, account.used()
            guarded.run(signature, feeds)
            times: list[int] = []
            deadline = time.monotonic() + _LONGEST
            while len(times) < runs and (not times or time.monotonic() < deadline):
                began = time.monotonic_ns()
                guarded.run(signature, feeds)
                times.append(time.monotonic_ns() - began)
            used = account.used()
            model = guarded.model
            if not isinstance(model, ProfiledModel):
                raise InternalError("The engine records no profile.")
            nodes = model.end()
        finally:
            account.unload(guarded)
        return {
            "runs": len(times),
            "compute_ns": sum(times) // len(times),
            "load_ns": load_ns,
            "providers": list(model.providers),
            "memory": {
                "model": max(0, loaded - before),
                "activations": max(0, used - loaded),
                "used": used,
                "limit": account.limit,
            },
            "nodes": [
                {
                    "name": node.name,
                    "operator": node.operator,
                    "provider": node.provider,
                    "calls": node.calls,
                    "ns": node.ns // len(times),
                    "output_bytes": node.output_bytes,
                    "parameter_bytes": node.parameter_bytes,
                }
                for node in sorted(nodes, key=lambda node: -node.ns)
            ],
        }
