"""Versions on disk and servables that need no accelerator, for tests of what manages them."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from elastic_inference.errors import ElasticInferenceError, ModelFormatError
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.frameworks.tensorflow.source import DEFAULT_SIGNATURE
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.config import ModelConfig, ModelServerConfig, VersionPolicy
from elastic_inference.serving.manager import Manager, ManagerOptions
from elastic_inference.serving.service import ModelSpec

PATIENCE = 20.0  # seconds
CORRUPT = b"corrupt"


class FakeServable:
    """Answers with its version; knows whether it was used after it was closed."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.signatures = {DEFAULT_SIGNATURE: Signature({}, {}, "", b"")}
        self.is_closed = False

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None,
    ) -> dict[str, Array]:
        del signature, outputs, deadline
        if self.is_closed:
            raise AssertionError("a closed version was used")
        return dict(inputs)

    def classify(
        self, signature: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[list[tuple[str, float]]]:
        del signature, deadline
        return [[(str(self.version), 1.0)] for _ in examples]

    def regress(
        self, signature: str, examples: Sequence[bytes], deadline: float | None
    ) -> list[float]:
        del signature, deadline
        return [float(self.version)] * len(examples)

    def close(self) -> None:
        self.is_closed = True


class FakeLoader:
    """Loads a folder whose saved_model.pb does not say that it is corrupt.

    Attributes:
        calls: what was loaded, in order.
        servables: what came of it.
        errors: raised by the next loads, one each.
        gate: loads wait for it.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.servables: dict[tuple[str, int], FakeServable] = {}
        self.errors: list[ElasticInferenceError] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, name: str, version: int, path: Path) -> FakeServable:
        self.calls.append((name, version))
        assert self.gate.wait(PATIENCE)
        if self.errors:
            raise self.errors.pop(0)
        if (path / "saved_model.pb").read_bytes() == CORRUPT:
            raise ModelFormatError("The SavedModel's file is damaged: it is cut off.")
        servable = self.servables[name, version] = FakeServable(version)
        return servable


class Models:
    """Folders of models."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, version: int | str, content: bytes = b"model") -> Path:
        """A version that appears at once, as one that is moved to its place."""
        made = self.folder / f".{name}-{version}"
        made.mkdir(parents=True)
        (made / "saved_model.pb").write_bytes(content)
        place = self.folder / name / str(version)
        place.parent.mkdir(exist_ok=True)
        made.rename(place)
        return place

    def remove(self, name: str, version: int | str) -> None:
        shutil.rmtree(self.folder / name / str(version))

    def config(self, *names: str, policy: VersionPolicy | None = None) -> ModelServerConfig:
        return ModelServerConfig(
            tuple(
                ModelConfig(name, str(self.folder / name), policy=policy or VersionPolicy())
                for name in names
            )
        )


def manage(loader: FakeLoader, **options: float) -> Manager:
    """A manager that looks at the disk often."""
    given = {"poll_interval": 0.02, "retry_interval": 0.01, **options}
    return Manager(loader, ManagerOptions(**given))  # type: ignore[arg-type]


def states(manager: Manager, name: str) -> dict[int, str]:
    return {each.version: each.state for each in manager.status(ModelSpec(name))}


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that another thread brings about."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        threading.Event().wait(0.005)
