"""Keeps the right versions of all models loaded, and gives them to requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    DeadlineExceededError,
    ElasticInferenceError,
    InsufficientCapacityError,
    InternalError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.serving import policy
from elastic_inference.serving.config import ModelConfig, ModelServerConfig, check
from elastic_inference.serving.labels import Labels
from elastic_inference.serving.lifecycle import Loader, Model, Steps, Version
from elastic_inference.serving.service import (
    AVAILABLE,
    END,
    LOADING,
    START,
    UNLOADING,
    ModelSpec,
    Servable,
    VersionStatus,
)

_log = logging.getLogger(__name__)
# Failures that may pass without a change of the model's files.
_PASSING = (
    AcceleratorOutOfMemoryError,
    DeadlineExceededError,
    InsufficientCapacityError,
    LimitExceededError,
    UnavailableError,
)
# Between two looks at a folder that is not settled.
_LOOK = 0.25  # seconds
# What was logged and need not be logged again.
_MOST_SAID = 10_000
# Models that are not served any more are remembered for their status.
_MOST_GONE = 1000


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """How versions are found and loaded.

    Attributes:
        poll_interval: seconds between looks at the base paths; 0 for one look, below for none.
        load_threads, unload_threads: how many versions at a time; 0 means 1.
        most_retries: of a load that failed, if it may succeed later.
        retry_interval: seconds between them.
        allows_labels: for versions that are not available, where the label is a new one.
    """

    poll_interval: float = 1.0
    load_threads: int = 0
    unload_threads: int = 0
    most_retries: int = 5
    retry_interval: float = 60.0
    allows_labels: bool = False


class Manager:
    """The versions of all models. Its methods may be called from many threads."""

    def __init__(
        self,
        loader: Loader,
        options: ManagerOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loader = loader
        self._options = options
        self._clock = clock
        self._changed = threading.Condition()
        self._models: dict[str, Model] = {}
        self._config = ModelServerConfig()
        self._labels = Labels(allows_unavailable=options.allows_labels)
        self._reloading = threading.Lock()
        self._polling = threading.Lock()
        self._said: dict[tuple[str, str], str] = {}
        self._is_stopped = False
        self._loads = ThreadPoolExecutor(max(options.load_threads, 1), "load")
        self._unloads = ThreadPoolExecutor(max(options.unload_threads, 1), "unload")
        self._watcher = threading.Thread(target=self._watch, name="versions", daemon=True)
        self._watcher.start()

    def use(self, spec: ModelSpec) -> _Use:
        """The version that `spec` is for; it stays loaded within the context.

        Entering it raises:
            NotFoundError: no such version is available.
            InvalidRequestError: it has no name, or an unknown label.
            UnavailableError: the server is being stopped.
        """
        return _Use(self, spec)

    def status(self, spec: ModelSpec) -> list[VersionStatus]:
        """Where the versions of a model stand, the newest first, or that of one.

        Raises:
            NotFoundError: there never was such a model or version.
            InvalidRequestError: the label is unknown.
        """
        with self._changed:
            model = self._models.get(spec.name)
            found = [] if model is None else model.status()
            number = self._number(spec)
        if number is None:
            if not found:
                raise NotFoundError(f"Could not find any versions of model {spec.name}")
            return found
        chosen = [each for each in found if each.version == number]
        if not chosen:
            raise NotFoundError(f"Could not find version {number} of model {spec.name}")
        return chosen

    def reload(self, config: ModelServerConfig) -> None:
        """Serve what `config` says; returns when each new model has a version available.

        Raises:
            InvalidRequestError: the configuration is wrong; what was served stays.
            ConflictError: a label is for a version that is not available.
            UnavailableError: a new model cannot be loaded, or the server is being stopped.
        """
        with self._reloading:
            if not config.models and not config.custom and not self._config.models:
                _log.info("Taking no action for empty config.")
                return
            check(config)
            with self._changed:
                self._labels.renew(config, self._models)
                known = {model.name for model in self._config.models}
                self._config = config
                _log.info("Adding/updating models.")
                for model in config.models:
                    _log.info(" (Re-)adding model: %s", model.name)
                    self._models.setdefault(model.name, Model(model.name)).config = model
                self._drop({model.name for model in config.models})
            new = [model.name for model in config.models if model.name not in known]
            if self._options.poll_interval >= 0:
                self.poll()
            self._wait_for(new)
            _log.info("Finished adding/updating models")

    def poll(self) -> None:
        """Look at the base paths once, and act on what is there."""
        with self._polling:
            with self._changed:
                configs = list(self._config.models)
            for config in configs:
                self._poll_model(config)

    def stop(self, timeout: float | None = None) -> bool:
        """Take no more requests, let those that are there end, and unload everything.

        Args:
            timeout: how long requests and loads may take to end, in seconds.

        Returns:
            whether all ended.
        """
        with self._changed:
            self._is_stopped = True
            for model in self._models.values():
                model.config = None
            self._drop(set())
            self._changed.notify_all()
        self._watcher.join(timeout)
        self._loads.shutdown(wait=False)
        with self._changed:
            is_empty = self._changed.wait_for(self._is_empty, timeout)
        self._unloads.shutdown(wait=False)
        return is_empty

    def _is_empty(self) -> bool:
        return all(
            version.state == END
            for model in self._models.values()
            for version in model.versions.values()
        )

    # Requests

    def take(self, spec: ModelSpec) -> tuple[Model, Version]:
        """A hold on the version that `spec` is for; errors as `use`."""
        with self._changed:
            model, version = self._find(spec)
            version.users += 1
            return model, version

    def give_back(self, model: Model, version: Version) -> None:
        """End a hold."""
        with self._changed:
            version.users -= 1
            if version.users == 0 and version.state == UNLOADING:
                self._unloads.submit(self._close, model, version)

    def _find(self, spec: ModelSpec) -> tuple[Model, Version]:
        if not spec.name:
            raise InvalidRequestError("ModelSpec has no name specified.")
        if self._is_stopped:
            raise UnavailableError("The server is being stopped.")
        number = self._number(spec)
        model = self._models.get(spec.name)
        if model is not None:
            version = model.latest if number is None else model.versions.get(number)
            if version is not None and version.state == AVAILABLE:
                return model, version
        request = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        raise NotFoundError(f"Servable not found for request: {request}")

    def _number(self, spec: ModelSpec) -> int | None:
        return self._labels.version(spec.name, spec.label) if spec.label else spec.version

    # What is on disk

    def _poll_model(self, config: ModelConfig) -> None:
        try:
            found, odd = policy.find(Path(config.base_path))
        except OSError as error:
            self._say(
                config.name,
                "base",
                f"Could not find base path {config.base_path} for servable {config.name} "
                f"with error {error.strerror}",
            )
            return
        for complaint in odd:
            self._say(config.name, complaint, complaint)
        with self._changed:
            model = self._models[config.name]
            if model.config is not config:
                return
            served = {
                number: model.folders[number]
                for number, version in model.versions.items()
                if version.state != END and number in found and number in model.folders
            }
        aspired = policy.choose(config.policy, found)
        if not aspired:
            self._say(
                config.name,
                "base",
                f"No versions of servable {config.name} found under base path "
                f"{config.base_path}. Did you forget to name your leaf directory as a number "
                "(eg. '/1/')?",
            )
        else:
            self._say(config.name, "base", "")
        # What is loaded, or about to be, is not looked at again: it may be large.
        folders = {number: served.get(number) or policy.look(found[number]) for number in found}
        waiting = {
            number for number, folder in folders.items() if self._waits(config.name, number, folder)
        }
        with self._changed:
            if model.config is not config:
                return
            model.folders = {
                number: folder for number, folder in folders.items() if number not in waiting
            }
            model.waiting = frozenset(waiting)
            model.is_settling = any(not folders[number].lacks for number in waiting)
            self._act(model)

    def _waits(self, name: str, number: int, folder: policy.Folder) -> bool:
        if folder.lacks:
            self._say(
                name,
                f"folder {number}",
                f"Version {number} of servable {name} waits: {folder.path}: {folder.lacks}",
            )
            return True
        # With a single look there is no other one at which it could have settled.
        return self._options.poll_interval > 0 and not folder.is_settled(policy.now())

    def _say(self, name: str, about: str, what: str) -> None:
        """Log what is true for a while once, not with each look."""
        if self._said.get((name, about), "") != what:
            if len(self._said) >= _MOST_SAID:
                self._said.clear()
            self._said[name, about] = what
            if what:
                _log.warning("%s", what)

    # All below is called with the lock held, but for the threads' own work.

    def _drop(self, kept: set[str]) -> None:
        """Give up models that are no longer in the configuration."""
        for name, model in self._models.items():
            if name not in kept:
                model.config = None
                model.folders, model.waiting, model.is_settling = {}, frozenset(), False
                self._act(model)
        gone = [name for name, model in self._models.items() if model.config is None]
        for name in gone[:-_MOST_GONE]:
            if all(version.state == END for version in self._models[name].versions.values()):
                del self._models[name]

    def _act(self, model: Model) -> None:
        steps: Steps = model.aim()
        for version in steps.load:
            self._loads.submit(self._load, model, version)
        for version in steps.unload:
            _log.info("Quiescing servable version %s", _id(model, version))
            if version.users == 0:
                self._unloads.submit(self._close, model, version)
        self._changed.notify_all()

    def _close(self, model: Model, version: Version) -> None:
        _log.info("Unloading servable version %s", _id(model, version))
        try:
            if version.servable is not None:
                version.servable.close()
        except Exception:  # noqa: BLE001 - logged; the version ends in any case
            _log.exception("Unloading %s failed", _id(model, version))
        with self._changed:
            version.state, version.servable = END, None
            _log.info("Done unloading servable version %s", _id(model, version))
            self._act(model)

    def _load(self, model: Model, version: Version) -> None:
        with self._changed:
            if not version.is_wanted:
                version.state = END
                self._act(model)
                return
            version.state, version.next_try = LOADING, None
        _log.info("Loading servable version %s", _id(model, version))
        try:
            servable = self._loader(model.name, version.number, version.path)
        except ElasticInferenceError as error:
            self._failed(model, version, error)
            return
        except Exception as error:  # noqa: BLE001 - it becomes the version's status
            _log.exception("Loading %s failed", _id(model, version))
            self._failed(model, version, InternalError(f"Loading failed: {error!r}."))
            return
        with self._changed:
            version.servable, version.state, version.error = servable, AVAILABLE, None
            _log.info("Successfully loaded servable version %s", _id(model, version))
            self._act(model)

    def _failed(self, model: Model, version: Version, error: ElasticInferenceError) -> None:
        with self._changed:
            version.failures += 1
            version.error = error
            tries = self._options.most_retries + 1
            again = isinstance(error, _PASSING) and version.failures < tries and version.is_wanted
            if again:
                version.next_try = self._clock() + max(self._options.retry_interval, 0.0)
            else:
                version.state = END
            _log.error(
                "Loading servable: %s failed%s: %s",
                _id(model, version),
                f" (attempt {version.failures} of {tries})" if again else "",
                error,
            )
            self._act(model)

    # Time

    def _watch(self) -> None:
        interval = self._options.poll_interval
        next_poll = self._clock() + interval if interval > 0 else None
        while True:
            with self._changed:
                if self._is_stopped:
                    return
                self._changed.wait(self._pause(next_poll))
                if self._is_stopped:
                    return
                now = self._clock()
                self._retry(now)
                is_due = next_poll is not None and (now >= next_poll or self._is_hurried())
            if is_due:
                try:
                    self.poll()
                except Exception:  # noqa: BLE001 - logged; the next look may succeed
                    _log.exception("A look at the base paths failed")
                next_poll = self._clock() + interval

    def _is_hurried(self) -> bool:
        """Whether a folder is whole and may have settled: it need not wait for its turn."""
        return any(model.is_settling for model in self._models.values())

    def _pause(self, next_poll: float | None) -> float | None:
        due = [] if next_poll is None else [next_poll]
        due.extend(
            version.next_try
            for model in self._models.values()
            for version in model.versions.values()
            if version.next_try is not None
        )
        pause = max(min(due) - self._clock(), 0.0) if due else None
        hurried = next_poll is not None and self._is_hurried()
        return min(pause or 0.0, _LOOK) if hurried else pause

    def _retry(self, now: float) -> None:
        for model in self._models.values():
            for version in model.versions.values():
                if version.next_try is not None and version.next_try <= now:
                    version.state, version.next_try = START, None
                    self._loads.submit(self._load, model, version)

    def _wait_for(self, names: Iterable[str]) -> None:
        models = [self._models[name] for name in names]

        def is_decided() -> bool:
            return self._is_stopped or all(
                model.latest is not None or model.has_failed or model.config is None
                for model in models
            )

        with self._changed:
            self._changed.wait_for(is_decided)
            if self._is_stopped:
                raise UnavailableError("The server is being stopped.")
            failed = [model for model in models if model.has_failed]
            if failed:
                raise _unavailable(failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Use:
    """A request's hold on a version."""

    __slots__ = ("_held", "_manager", "_spec")

    def __init__(self, manager: Manager, spec: ModelSpec) -> None:
        self._manager = manager
        self._spec = spec

    def __enter__(self) -> Servable:
        self._held = self._manager.take(self._spec)
        servable = self._held[1].servable
        if servable is None:
            raise InternalError("A version is available and not loaded.")
        return servable

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._manager.give_back(*self._held)


def _id(model: Model, version: Version) -> str:
    return f"{{name: {model.name} version: {version.number}}}"


def _unavailable(failed: list[Model]) -> UnavailableError:
    parts: list[str] = []
    for model in failed:
        parts.extend(
            f"{_id(model, version)} due to error: {version.error}" for version in model.failures()
        )
    return UnavailableError(
        f"{len(failed)} model(s) did not become available: {{{', '.join(parts)}}}"
    )
