"""Which engine loads a model: what its main file is called says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from elastic_inference.accelerator.engines.base import (
    Engine,
    LoadedModel,
    LoadOptions,
    ModelFiles,
    ProfiledModel,
)
from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensorflow import GRAPH

if TYPE_CHECKING:
    from elastic_inference.accelerator.engines.tensorflow import TensorFlowEngine

TENSORFLOW = "tensorflow"
# What TensorFlow's libraries take of this process's memory, before that can be measured.
_LIBRARIES = 208 << 20


class SelectingEngine:
    """The usual engine, and TensorFlow for the graphs that are its own.

    See `engines.base.Engine`.

    Args:
        usual: loads all other models, and stands for both where there is one answer.
        tensorflow: makes the other one, when it is needed first.
        on_cpu: whether this process's memory is the slice's.
    """

    def __init__(
        self, usual: Engine, tensorflow: Callable[[], TensorFlowEngine], *, on_cpu: bool
    ) -> None:
        self._usual = usual
        self._make = tensorflow
        self._made: TensorFlowEngine | None = None
        self._making = threading.Lock()
        self._on_cpu = on_cpu
        self.name = usual.name
        self.version = usual.version
        self.providers = usual.providers
        self.threads = usual.threads

    @property
    def domains(self) -> Mapping[str, int]:
        return self._usual.domains

    @property
    def fingerprint(self) -> str:
        return self._usual.fingerprint

    def prepares(self, main: str, size: int) -> bool:
        return main != GRAPH and self._usual.prepares(main, size)

    def libraries(self, main: str) -> tuple[int, int]:
        if main != GRAPH or not self._on_cpu or TENSORFLOW not in engines(self.name):
            return self._usual.libraries(main)
        made = self._made
        return (_LIBRARIES, _LIBRARIES) if made is None else (made.libraries, 0)

    def load(self, files: ModelFiles, options: LoadOptions, *, defer: bool = False) -> LoadedModel:
        if files.main != GRAPH:
            return self._usual.load(files, options, defer=defer)
        return self._tensorflow().load(files, options)

    def load_profiled(
        self, files: ModelFiles, options: LoadOptions, directory: Path
    ) -> ProfiledModel:
        if files.main == GRAPH:
            raise InvalidRequestError(
                "A graph that runs in TensorFlow cannot be profiled.",
                next_step="`ei explain` shows which parts of a model do.",
            )
        return self._usual.load_profiled(files, options, directory)

    def check(self) -> None:
        self._usual.check()

    def trim(self) -> None:
        if self._made is not None:
            self._made.trim()
        self._usual.trim()

    def _tensorflow(self) -> TensorFlowEngine:
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made


def engine_of(main: str, usual: str) -> str:
    """The name of the engine for a model whose main file is `main`."""
    return TENSORFLOW if main == GRAPH else usual


@cache
def engines(usual: str) -> tuple[str, ...]:
    """The names of all engines that this machine has."""
    return (usual, TENSORFLOW) if find_spec("tensorflow") else (usual,)
