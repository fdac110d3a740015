"""Where arrays lie and symbols run: `cpu()`, `eia()`, and `gpu()` which is refused."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, ClassVar, Self

from elastic_inference.frameworks.mxnet.errors import no_gpu

_current = threading.local()


class Context:
    """A device: its type, and its number among those of the type."""

    devtype2str: ClassVar[dict[int, str]] = {
        1: "cpu",
        2: "gpu",
        3: "cpu_pinned",
        5: "cpu_shared",
        6: "eia",
    }
    devstr2type: ClassVar[dict[str, int]] = {name: number for number, name in devtype2str.items()}

    def __init__(self, device_type: str | int | Context, device_id: int = 0) -> None:
        if isinstance(device_type, Context):
            self.device_typeid: int = device_type.device_typeid
            self.device_id: int = device_type.device_id
        else:
            self.device_typeid = (
                self.devstr2type[device_type] if isinstance(device_type, str) else device_type
            )
            self.device_id = device_id
        self._before: list[Context] = []

    @property
    def device_type(self) -> str:
        return self.devtype2str[self.device_typeid]

    @classmethod
    def default_ctx(cls) -> Context:
        return current_context()

    def empty_cache(self) -> None:
        """Memory is given back at once here."""

    def __hash__(self) -> int:
        return hash((self.device_typeid, self.device_id))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Context)
            and self.device_typeid == other.device_typeid
            and self.device_id == other.device_id
        )

    def __repr__(self) -> str:
        return f"{self.device_type}({self.device_id})"

    def __enter__(self) -> Self:
        self._before.append(current_context())
        _current.value = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.value = self._before.pop()

    def __getstate__(self) -> tuple[int, int]:
        return self.device_typeid, self.device_id

    def __setstate__(self, state: tuple[int, int]) -> None:
        self.device_typeid, self.device_id = state
        self._before = []


def cpu(device_id: int = 0) -> Context:
    """The instance itself."""
    return Context("cpu", device_id)


def cpu_pinned(device_id: int = 0) -> Context:
    """The instance itself: no device here needs pinned memory."""
    return Context("cpu_pinned", device_id)


def gpu(device_id: int = 0) -> Context:
    """A device that nothing can be put on: any use of it is refused."""
    return Context("gpu", device_id)


def eia(device_id: int = 0) -> Context:
    """The attached accelerator; `device_id` is its ordinal among the visible ones."""
    return Context("eia", device_id)


def num_gpus() -> int:
    """How many GPUs this process can use itself: none."""
    return 0


def gpu_memory_info(device_id: int = 0) -> tuple[int, int]:  # noqa: ARG001 - its signature
    """Refused: there is no GPU.

    Raises:
        MXNetError: always.
    """
    raise no_gpu()


def current_context() -> Context:
    """The context of the innermost `with`, `cpu(0)` outside any."""
    found: Any = getattr(_current, "value", None)
    return found if found is not None else Context("cpu", 0)
