"""The models that are loaded, and who needs them.

A model is known by its handle, a hash of its content and options; who loads the same thing
shares it. Each load is a lease of an owner: a client process, or a name of the model
repository. A model goes when its last lease ends and the last call on it is over.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic_inference.accelerator.engines.base import (
    Engine,
    LoadedModel,
    LoadOptions,
    ModelFiles,
)
from elastic_inference.accelerator.journal import Journal, JournalModel
from elastic_inference.accelerator.memory import GuardedModel, MemoryAccount
from elastic_inference.accelerator.preparation import Preparations
from elastic_inference.accelerator.repository import RepositoryModel, parse_repository_load
from elastic_inference.accelerator.store import Assembled, BlobStore
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    UnavailableError,
    from_dict,
)
from elastic_inference.protocol.tensors import TensorSpec, Value
from elastic_inference.settings import Limits

log = logging.getLogger(__name__)

_HANDLE = re.compile(r"[0-9a-f]{64}")
_MAX_FAILED = 64
# A model whose load the process did not outlive so many times is not brought back.
_MAX_ATTEMPTS = 2
# A load is answered before the model is prepared where so many times its size is free: for
# the model as it was uploaded, and for what preparing it takes meanwhile.
_DEFERRED_ROOM = 4


def handle_of(files: Mapping[str, str], main: str, options: Mapping[str, Any]) -> str:
    """The handle of a model: SHA-256 of the canonical JSON of what a load request says.

    Args:
        files: SHA-256 by file name.
        main: which of `files` is the model.
        options: as in the request, {} where it has none.
    """
    text = json.dumps(
        {"files": dict(files), "main": main, "options": dict(options)},
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The outcome of a load request.

    Attributes:
        handle: the model's name in other requests.
        source: `shared` if it was loaded already, else the model's own.
        load_ns: how long the request took, in nanoseconds.
    """

    handle: str
    model: LoadedModel
    source: str
    load_ns: int


class Entry:
    """A loaded model in use.

    Attributes:
        source: what it was loaded from.
    """

    def __init__(
        self, source: JournalModel, guarded: GuardedModel, close: Callable[[], None]
    ) -> None:
        self.source = source
        self.handle = source.handle
        self.model = guarded.model
        self._run = guarded.run
        self._close = close
        self._closing = False
        self._close_once = threading.Lock()
        # One item per call under way. Appending and popping are atomic; counting is not.
        self._active: list[None] = []
        self._specs = {spec.name: spec for spec in guarded.model.outputs}

    def run(
        self,
        signature: Hashable,
        feeds: Mapping[str, Value],
        outputs: Sequence[str] | None = None,
    ) -> Sequence[Value]:
        """See `memory.GuardedModel.run`.

        Raises:
            NotFoundError: the model was unloaded meanwhile.
        """
        active = self._active
        active.append(None)
        try:
            if self._closing:
                raise _unknown(self.handle)
            return self._run(signature, feeds, outputs)
        finally:
            active.pop()
            if self._closing:
                self._finish()

    def specs(self, outputs: Sequence[str] | None = None) -> Sequence[TensorSpec]:
        """The descriptions of `outputs` (all if None), which `run` was given."""
        return self.model.outputs if not outputs else [self._specs[name] for name in outputs]

    def close(self) -> None:
        """Refuse new calls, and close the model when the last running one is over."""
        self._closing = True
        self._finish()

    def _finish(self) -> None:
        if not self._active and self._close_once.acquire(blocking=False):
            self._close()


@dataclass(slots=True)
class _Loading:
    done: threading.Event = field(default_factory=threading.Event)
    error: ElasticInferenceError | None = None


class ModelRegistry:
    """All models of one accelerator.

    Args:
        clock: seconds, for the grace of leases.
    """

    def __init__(
        self,
        engine: Engine,
        account: MemoryAccount,
        store: BlobStore,
        journal: Journal,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._account = account
        self._store = store
        self._journal = journal
        self._limits = limits
        self._clock = clock
        self._lock = threading.RLock()
        # Handles and names, both; read without the lock.
        self._entries: dict[str, Entry] = {}
        self._leases: dict[str, set[str]] = {}
        self._names: dict[str, str] = {}
        self._loading: dict[str, _Loading] = {}
        self._failed: dict[str, str] = {}
        self._gone: dict[str, float] = {}
        self._preparations = Preparations(account)

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, name: str) -> Entry:
        """The model with that handle or name.

        Raises:
            NotFoundError: there is none.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise _unknown(name) from None

    def names(self) -> list[str]:
        """The handles and names of the models that are loaded."""
        return list(self._entries)

    def index(self, *, ready_only: bool = False) -> list[dict[str, Any]]:
        """The repository index: each handle and name, its state and why."""
        with self._lock:
            ready = list(self._entries)
            loading = [name for name in self._loading if name not in self._entries]
            failed = {name: why for name, why in self._failed.items() if name not in ready}
        found = [_index(name, "READY", "") for name in ready]
        if not ready_only:
            found += [_index(name, "LOADING", "") for name in loading]
            found += [_index(name, "UNAVAILABLE", why) for name, why in failed.items()]
        return found

    # Loading

    def load(
        self,
        files: Mapping[str, str],
        main: str,
        options: LoadOptions,
        client: str,
        *,
        raw_options: Mapping[str, Any] | None = None,
    ) -> Loaded:
        """Load the model of the blobs `files` and give `client` a lease on it.

        Args:
            options: checked.
            client: whose lease it is; "" for one that only an unload ends.
            raw_options: the options as requested, which the handle is made of.

        Raises:
            NotFoundError: a blob is not stored.
            LimitExceededError: too many models are loaded.
            UnavailableError: another load of the same model takes too long.
            ModelFormatError, InvalidRequestError, AcceleratorOutOfMemoryError, InternalError:
                as `Engine.load`.
        """
        handle = handle_of(files, main, raw_options or {})
        return self._load(JournalModel(handle, files, main, options, 0), f"client:{client}")

    def load_named(self, name: str, files: Mapping[str, bytes], config: str = "{}") -> None:
        """The repository extension's load: the model `name` becomes that of `files`.

        Args:
            files: contents by path, e.g. `1/model.onnx`; none if the model is loaded already.
            config: the model's configuration in Triton's JSON form.

        Raises:
            what `load` does.
        """
        if _HANDLE.fullmatch(name):
            if files or name not in self._leases:
                raise InvalidRequestError("A model's name must not look like a handle.")
            return
        if not files:
            self.get(name)
            return
        try:
            wanted = parse_repository_load(name, files, config)
            self._load_named(name, wanted)
        except ElasticInferenceError as error:
            with self._lock:
                while len(self._failed) >= _MAX_FAILED:
                    self._failed.pop(next(iter(self._failed)))
                self._failed[name] = error.message
            raise

    def unload(self, name: str, client: str) -> None:
        """End the lease of the name, or the client's lease on the handle.

        Raises:
            NotFoundError: no such model, or the client has no lease on it.
        """
        with self._lock:
            if name in self._names:
                handle, owner = self._names[name], f"name:{name}"
                self._drop_name(name)
            else:
                handle, owner = name, f"client:{client}"
            if owner not in self._leases.get(handle, ()):
                raise _not_yours(name) if handle in self._entries else _unknown(name)
            doomed = self._end_lease(handle, owner)
        _close(doomed)

    def restore(self) -> None:
        """Bring back what the journal says was loaded; leases of clients enter their grace."""
        leases: dict[str, list[str]] = {}
        for handle, owner in self._journal.leases():
            leases.setdefault(handle, []).append(owner)
        for model in self._journal.models():
            owners = leases.get(model.handle, [])
            if not owners or model.attempts >= _MAX_ATTEMPTS:
                self._journal.remove(model.handle)
                continue
            try:
                for owner in owners:
                    self._load(model, owner)
            except ElasticInferenceError as error:
                log.warning("Model %s does not come back: %s", model.handle, error)
                self._journal.remove(model.handle)
                self._failed[model.handle] = error.message
        with self._lock:
            for name, handle in self._journal.names():
                if handle in self._entries:
                    self._names[name] = handle
                    self._entries[name] = self._entries[handle]
        clients = {owner.removeprefix("client:") for owners in leases.values() for owner in owners
                   if owner.startswith("client:")}  # fmt: skip
        for client in clients - {""}:
            self.client_gone(client)

    @property
    def preparing(self) -> int:
        """How many loaded models are still to get their final form."""
        return len(self._preparations)

    def settled(self, timeout: float) -> bool:
        """Wait until no model is being prepared; False if that takes longer than `timeout` s."""
        return self._preparations.settled(timeout)

    def stop_preparing(self) -> None:
        """Prepare nothing more: the process ends."""
        self._preparations.stop()

    # Clients

    def client_gone(self, client: str) -> None:
        """The last connection of `client` is gone: its leases end after the grace."""
        with self._lock:
            self._gone[client] = self._clock() + self._limits.lease_grace

    def client_back(self, client: str) -> None:
        """`client` is connected: its leases stay."""
        with self._lock:
            self._gone.pop(client, None)

    def expire(self) -> None:
        """End the leases of clients whose grace is over, and settle the memory.

        To be called every few seconds.
        """
        doomed = []
        with self._lock:
            now = self._clock()
            for client in [name for name, until in self._gone.items() if until <= now]:
                del self._gone[client]
                owner = f"client:{client}"
                for handle in [each for each, own in self._leases.items() if owner in own]:
                    doomed += self._end_lease(handle, owner)
        _close(doomed)
        self._account.settle()

    # Inner parts

    def _load(self, model: JournalModel, owner: str) -> Loaded:
        began = time.monotonic_ns()
        handle = model.handle
        while True:
            with self._lock:
                entry = self._entries.get(handle)
                if entry is not None:
                    self._add_lease(handle, owner)
                    return Loaded(handle, entry.model, "shared", time.monotonic_ns() - began)
                loading = self._loading.get(handle)
                if loading is None:
                    mine = self._loading[handle] = _Loading()
                    break
            self._await(loading)
        try:
            entry = self._open(model)
            with self._lock:
                self._leases[handle] = set()
                self._entries[handle] = entry
                self._failed.pop(handle, None)
                self._add_lease(handle, owner)
        except ElasticInferenceError as error:
            mine.error = error
            raise
        except BaseException as error:
            mine.error = InternalError(f"The model failed to load: {error!r}."[:500])
            raise
        finally:
            with self._lock:
                del self._loading[handle]
            mine.done.set()
        return Loaded(handle, entry.model, entry.model.source, time.monotonic_ns() - began)

    def _await(self, loading: _Loading) -> None:
        """Wait for another's load; its failure is ours too."""
        if not loading.done.wait(self._limits.load_wait):
            raise UnavailableError(
                "Another load of this model is under way for too long.",
                next_step="Try again later.",
            )
        if loading.error is not None:
            raise from_dict(loading.error.to_dict(), type(loading.error))

    def _open(self, model: JournalModel) -> Entry:
        if len(self) + len(self._loading) > self._limits.max_models:
            raise LimitExceededError(
                f"{self._limits.max_models} models are loaded already.",
                next_step="Unload one; EI_MAX_MODELS of the pool sets the limit.",
            )
        _, missing = self._engine.libraries(model.main)
        assembled = self._store.assemble(model.files)
        self._journal.begin(model)
        try:
            files = ModelFiles(
                model.handle, assembled.directory, model.main, self._cache(model, assembled.size),
                assembled.size,
            )  # fmt: skip

            def loader() -> LoadedModel:
                defer = self._account.room() >= _DEFERRED_ROOM * files.size
                return self._engine.load(files, model.options, defer=defer)

            guarded = self._account.load(files.size + missing, loader)
        except AcceleratorOutOfMemoryError as error:
            assembled.release()
            self._journal.remove(model.handle)
            raise self._no_room(model.main) from error
        except BaseException:
            assembled.release()
            self._journal.remove(model.handle)
            raise
        if guarded.model.unfinished:
            self._preparations.add(guarded, lambda: self._journal.loaded(model.handle))
        else:
            self._journal.loaded(model.handle)
        return Entry(model, guarded, lambda: self._close_model(guarded, assembled))

    def _no_room(self, main: str) -> AcceleratorOutOfMemoryError:
        libraries, _ = self._engine.libraries(main)
        if not libraries:
            return AcceleratorOutOfMemoryError()
        limit = self._account.limit
        left = max(0, limit - max(libraries, self._account.used()))
        return AcceleratorOutOfMemoryError(
            "Accelerator out of memory. The graph runs in TensorFlow, whose libraries take"
            f" {libraries >> 20} MB of {limit >> 20} MB: it does not fit in the {left >> 20} MB"
            " that are left."
        )

    def _cache(self, model: JournalModel, size: int) -> Path | None:
        if not self._engine.prepares(model.main, size):
            # No room is to be made, and nothing evicted, for what never comes.
            return None
        if model.attempts:
            # The process ended while it loaded or prepared this model: prepare it no more.
            return None
        return self._store.cache_folder(model.handle, self._engine.fingerprint, size)

    def _close_model(self, guarded: GuardedModel, assembled: Assembled) -> None:
        self._account.unload(guarded)
        self._preparations.after(guarded, assembled.release)

    def _load_named(self, name: str, wanted: RepositoryModel) -> None:
        digests = {path: self._store.put(data) for path, data in wanted.files.items()}
        owner = f"name:{name}"
        handle = handle_of(digests, wanted.main, {})
        options = LoadOptions(threads=self._engine.threads)
        loaded = self._load(JournalModel(handle, digests, wanted.main, options, 0), owner)
        doomed: list[Entry] = []
        with self._lock:
            before = self._names.get(name)
            try:
                wanted.check(loaded.model)
            except InvalidRequestError:
                if before != handle:
                    doomed = self._end_lease(handle, owner)
                raise
            else:
                if handle not in self._entries:
                    raise _unknown(name)
                self._names[name] = handle
                self._entries[name] = self._entries[handle]
                self._failed.pop(name, None)
                self._journal.set_name(name, handle)
                if before not in (None, handle):
                    doomed = self._end_lease(str(before), owner)
            finally:
                _close(doomed)

    def _add_lease(self, handle: str, owner: str) -> None:
        if owner not in self._leases[handle]:
            self._leases[handle].add(owner)
            self._journal.add_lease(handle, owner)

    def _end_lease(self, handle: str, owner: str) -> list[Entry]:
        """End a lease; what must be closed then, outside the lock."""
        owners = self._leases[handle]
        owners.discard(owner)
        if owners:
            self._journal.end_lease(handle, owner)
            return []
        del self._leases[handle]
        self._journal.remove(handle)
        return [self._entries.pop(handle)]

    def _drop_name(self, name: str) -> None:
        del self._names[name]
        del self._entries[name]
        self._journal.end_name(name)


def _close(doomed: Sequence[Entry]) -> None:
    for entry in doomed:
        entry.close()


def _index(name: str, state: str, reason: str) -> dict[str, Any]:
    return {"name": name, "version": "1", "state": state, "reason": reason}


def _not_yours(name: str) -> NotFoundError:
    return NotFoundError(
        f"Model {name[:100]!r} is loaded, but not by this client.",
        next_step="It goes when those who loaded it have unloaded it.",
    )


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(
        f"Model {name[:100]!r} is not loaded.", next_step="Load it, then repeat the request."
    )
