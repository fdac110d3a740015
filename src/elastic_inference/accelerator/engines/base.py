"""What an engine is: it loads models and runs them.

Values that cross this interface are numpy arrays in the carrier dtype of their protocol
datatype (`protocol.tensors.CARRIER`): BF16 is carried as uint16, FP8 as uint8, sub-byte types as
a flat uint8 array of packed bytes (wrapped in `Packed`, which knows the shape), BYTES as an
object array of `bytes`. A sequence is a list, an absent optional is None, a map is a
dict; they nest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from elastic_inference.errors import InternalError
from elastic_inference.protocol.tensors import TensorSpec, Value


class DeviceFailedError(InternalError):
    """The accelerator's device has failed, and works no more for this process."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk, complete and checked.

    Attributes:
        handle: identifies content and options; see docs/protocol.md.
        directory: holds `main` and, below it, its external data. Read-only to the engine.
        main: file name of the model within `directory`.
        cache: a folder of this account in which the engine may keep prepared forms of
            this model, or None.
        size: bytes of all files together.
    """

    handle: str
    directory: Path
    main: str
    cache: Path | None
    size: int


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load; validated, see docs/protocol.md for the meaning."""

    threads: int = 1
    graph_optimization_level: str = "all"
    execution_mode: str = "sequential"
    free_dimensions: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)


class LoadedModel(Protocol):
    """A model ready to run. `run` may be called from many threads at one time."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, Any]
    providers: tuple[str, ...]
    source: str
    """`cache`, `prepared` or `direct`: where the load took the model from."""
    mapped_bytes: int
    """Bytes of weights mapped from files, which no anonymous memory holds."""

    @property
    def unfinished(self) -> bool:
        """Whether the load left work to `finish`."""

    def run(
        self, feeds: Mapping[str, Value], outputs: Sequence[str] | None = None
    ) -> Sequence[Value]:
        """The values of `outputs` (all, in the model's order, if None).

        Never writes to `feeds`, and keeps no reference to them after it returns.

        Raises:
            InvalidRequestError: names, dtypes or shapes do not fit the model.
            AcceleratorOutOfMemoryError: an allocation failed.
            DeadlineExceededError: the engine ended the run, which took too long.
            DeviceFailedError: the device failed, and all that follows on it will.
            InternalError: the engine failed.
        """

    def finish(self) -> None:
        """Do what the load left: give the model its final form, which takes less memory.

        Runs go on meanwhile, with the same results. A failure leaves the model as it is. Not
        called from two threads at one time; `close` may be called before and at any moment, and
        leaves what later loads gain from it.
        """

    def skip(self) -> None:
        """Give up what `finish` would do."""

    def close(self) -> None:
        """Give up the model's memory. Not called while a run is under way."""


@dataclass(frozen=True, slots=True)
class NodeTime:
    """What one node of a graph took in the recorded runs.

    Attributes:
        name, operator: of the node; of what the engine fused, the engine's own.
        provider: what ran it.
        calls: in all runs together.
        ns: of all calls together, in nanoseconds, without nodes inside it.
        output_bytes, parameter_bytes: of one call; of its outputs and of its weights.
    """

    name: str
    operator: str
    provider: str
    calls: int
    ns: int
    output_bytes: int
    parameter_bytes: int


@runtime_checkable
class ProfiledModel(LoadedModel, Protocol):
    """A model whose runs are recorded."""

    def end(self) -> Sequence[NodeTime]:
        """End the record: what each node took, the first run left out.

        Raises:
            InternalError: the record cannot be read, or ended already.
        """


class Engine(Protocol):
    """Loads models; one instance per accelerator process."""

    name: str
    version: str
    providers: tuple[str, ...]
    threads: int
    """The slice's threads; a model may ask for fewer."""

    @property
    def domains(self) -> Mapping[str, int]:
        """Newest supported version of each operator-set domain."""

    def prepares(self, main: str, size: int) -> bool:
        """Whether `load` may keep a prepared form of a model with that main file and size."""

    def libraries(self, main: str) -> tuple[int, int]:
        """What a model with that main file needs loaded, beside what this process began with.

        Returns:
            Bytes of the slice's memory that it takes, and how many of them are still to be taken.
        """

    @property
    def fingerprint(self) -> str:
        """Changes whenever prepared models of before are not usable: versions, processor."""

    def load(self, files: ModelFiles, options: LoadOptions, *, defer: bool = False) -> LoadedModel:
        """Load a model.

        Args:
            defer: leave to `LoadedModel.finish` what the first run need not wait for, at the
                price of some more memory until then.

        Raises:
            ModelFormatError: not a model, corrupt, or it refers outside its files.
            InvalidRequestError: an option does not fit.
            AcceleratorOutOfMemoryError: an allocation failed.
            DeadlineExceededError: what a model does once, when it is loaded, took too long.
            InternalError: the engine failed.
        """

    def load_profiled(
        self, files: ModelFiles, options: LoadOptions, directory: Path
    ) -> ProfiledModel:
        """Load a model whose runs are recorded, in `directory`.

        Raises:
            what `load` does.
        """

    def check(self) -> None:
        """Run a tiny model whose result is known: some microseconds, but for the first time.

        It takes nothing that models share, neither memory nor threads, so it waits for none.

        Raises:
            AcceleratorOutOfMemoryError: an allocation failed.
            InternalError: the engine or its device failed, or it computes wrongly.
        """

    def trim(self) -> None:
        """Return unused memory (arenas, the heap) to the system."""
