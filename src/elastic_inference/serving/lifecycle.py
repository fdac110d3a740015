"""What a model's versions are doing, and what is to be done with them next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from elastic_inference.errors import ElasticInferenceError
from elastic_inference.serving.config import ModelConfig
from elastic_inference.serving.policy import Folder, choose
from elastic_inference.serving.service import (
    AVAILABLE,
    END,
    LOADING,
    START,
    UNLOADING,
    Servable,
    VersionStatus,
)

# Versions that ended are remembered for their status.
_MOST_ENDED = 100


class Loaded(Servable, Protocol):
    """A servable that its owner gives up."""

    def close(self) -> None: ...


class Loader(Protocol):
    """Loads a version of a model."""

    def __call__(self, name: str, version: int, path: Path) -> Loaded: ...


@dataclass(eq=False, slots=True)
class Version:
    """One version from its discovery on.

    Attributes:
        mark: of its folder when it was loaded, or tried to be.
        users: requests that are at it.
        is_wanted: whether its load still makes sense.
        failures: of its load so far.
        next_try: when it is to be loaded again, by the manager's clock; None if it is not.
    """

    number: int
    path: Path
    mark: int
    state: str = START
    error: ElasticInferenceError | None = None
    servable: Loaded | None = None
    users: int = 0
    is_wanted: bool = True
    failures: int = 0
    next_try: float | None = None

    @property
    def is_coming(self) -> bool:
        """Whether it may yet become available."""
        return self.state in (START, LOADING)


@dataclass(frozen=True, slots=True)
class Steps:
    """What is to be done next."""

    load: list[Version] = field(default_factory=list)
    unload: list[Version] = field(default_factory=list)


class Model:
    """All versions of one model. Its owner sees to it that one thread is at it at a time.

    Attributes:
        config: None once it is not to be served any more.
        folders: whole and settled ones, by version, as they were seen last.
        waiting: versions whose folders are not whole or not settled.
        is_settling: whether one of these is whole.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.config: ModelConfig | None = None
        self.folders: Mapping[int, Folder] = {}
        self.waiting: frozenset[int] = frozenset()
        self.is_settling = False
        self.versions: dict[int, Version] = {}
        self.latest: Version | None = None

    def aim(self) -> Steps:
        """Bring what is served nearer to what is to be served.

        Versions to be loaded are started; one to be unloaded takes no more requests.
        """
        steps = Steps()
        wanted = self._wanted()
        for number in sorted(wanted, reverse=True):
            version = self.versions.get(number)
            if version is None or version.state == END:
                folder = self.folders[number]
                version = self.versions[number] = Version(number, folder.path, folder.mark)
                steps.load.append(version)
        for version in self.versions.values():
            version.is_wanted = version.number in wanted
            if version.next_try is not None and not version.is_wanted:
                version.state, version.next_try = END, None
        if self._may_unload(wanted):
            for version in self.versions.values():
                if version.state == AVAILABLE and not version.is_wanted:
                    version.state = UNLOADING
                    steps.unload.append(version)
        self.renew()
        return steps

    def renew(self) -> None:
        """Note which version is the latest that is available."""
        available = [each for each in self.versions.values() if each.state == AVAILABLE]
        self.latest = max(available, key=lambda each: each.number, default=None)
        ended = sorted(number for number, each in self.versions.items() if each.state == END)
        for number in ended[:-_MOST_ENDED]:
            del self.versions[number]

    def _wanted(self) -> set[int]:
        if self.config is None:
            return set()
        candidates = [number for number in self.folders if not self._has_failed(number)]
        return choose(self.config.policy, candidates)

    def _has_failed(self, number: int) -> bool:
        version = self.versions.get(number)
        return (
            version is not None
            and version.state == END
            and version.error is not None
            and version.mark == self.folders[number].mark
        )

    def _may_unload(self, wanted: set[int]) -> bool:
        """Old versions go when new ones have come, or when there are none at all any more."""
        if self.config is None:
            return True
        if not choose(self.config.policy, {*self.folders, *self.waiting}):
            return True
        states = [self.versions[number] for number in wanted]
        return any(each.state == AVAILABLE for each in states) and not any(
            each.is_coming for each in states
        )

    @property
    def has_failed(self) -> bool:
        """Whether nothing is available, nor will be before something changes on disk."""
        if self.latest is not None or self.config is None:
            return False
        coming = any(each.is_coming for each in self.versions.values())
        failed = any(self._has_failed(number) for number in self.folders)
        return failed and not coming and not self._wanted() and not self.waiting

    def failures(self) -> list[Version]:
        """The versions that could not be loaded, the newest first."""
        failed = [self.versions[number] for number in self.folders if self._has_failed(number)]
        return sorted(failed, key=lambda each: -each.number)

    def status(self) -> list[VersionStatus]:
        """Where the versions stand, the newest first."""
        return [
            VersionStatus(each.number, each.state, each.error)
            for each in sorted(self.versions.values(), key=lambda each: -each.number)
        ]
