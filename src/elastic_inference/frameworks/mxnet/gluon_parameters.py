"""The parameters of a Gluon block."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

import numpy as np

from elastic_inference.frameworks.mxnet import creation, initializer
from elastic_inference.frameworks.mxnet.context import Context, cpu
from elastic_inference.frameworks.mxnet.errors import (
    assertion_error,
    key_error,
    runtime_error,
)
from elastic_inference.frameworks.mxnet.ndarray import NDArray


class _Owner(Protocol):
    def reset_ctx(self, ctx: Any) -> None: ...


class Parameter:
    """A weight of a block; its values lie on the instance, wherever the block runs.

    Attributes:
        name: as in the symbol.
        shape, dtype: None where nothing tells them yet.
    """

    def __init__(
        self, name: str, shape: Any = None, dtype: Any = np.float32, owner: _Owner | None = None
    ) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.grad_req = "null"
        self._owner = owner
        self._data: NDArray | None = None

    def __repr__(self) -> str:
        return f"Parameter {self.name} (shape={self.shape}, dtype={self.dtype})"

    @property
    def is_initialized(self) -> bool:
        return self._data is not None

    def data(self, ctx: Context | None = None) -> NDArray:
        """The values.

        Raises:
            RuntimeError: it has none.
        """
        del ctx
        if self._data is None:
            raise runtime_error(
                f"Parameter '{self.name}' has not been initialized. You should initialize "
                "parameters with Block.initialize() or load them before use."
            )
        return self._data

    def list_data(self) -> list[NDArray]:
        return [self.data()]

    def list_ctx(self) -> list[Context]:
        return [cpu()]

    def set_data(self, data: NDArray) -> None:
        if self.shape is not None and not _fits(self.shape, data.shape):
            raise assertion_error(
                f"Failed to update param '{self.name}': its shape {data.shape} is incompatible "
                f"with the shape {self.shape} that is expected."
            )
        self.shape, self.dtype = data.shape, data.dtype
        self._data = data.as_in_context(cpu())

    def _load_init(
        self, data: NDArray, ctx: Any = None, cast_dtype: bool = False, **_: Any
    ) -> None:
        self.set_data(data.astype(self.dtype, copy=False) if cast_dtype else data)
        self.reset_ctx(ctx)

    def initialize(
        self,
        init: Any = None,
        ctx: Any = None,
        default_init: Any = None,
        force_reinit: bool = False,
    ) -> None:
        if self._data is None or force_reinit:
            if self.shape is None or not all(self.shape):
                raise runtime_error(f"The shape of parameter '{self.name}' is not known.")
            made = creation.zeros(self.shape, dtype=self.dtype)
            draw = initializer.create(init or default_init or initializer.Uniform())
            draw(self.name, made)
            self._data = made
        self.reset_ctx(ctx)

    def reset_ctx(self, ctx: Any) -> None:
        if ctx is not None and self._owner is not None:
            self._owner.reset_ctx(ctx)

    def cast(self, dtype: Any) -> None:
        if self._data is not None:
            self.set_data(self._data.astype(dtype))
        self.dtype = dtype


class ParameterDict(OrderedDict[str, Parameter]):
    """The parameters of a block, by name."""

    def load(
        self,
        filename: str,
        ctx: Any = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        restore_prefix: str = "",
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """Take the values of a `.params` file.

        Raises:
            AssertionError: the file has not all of them, or others, and that is not allowed.
        """
        del dtype_source
        found = {
            restore_prefix + name.removeprefix("arg:").removeprefix("aux:"): each
            for name, each in creation.load(filename).items()
        }
        missing = [name for name in self if name not in found]
        if missing and not allow_missing:
            raise assertion_error(
                f"Parameter '{missing[0]}' is missing in file '{filename}', which contains "
                f"parameters: {_few(found)}. Please make sure source and target networks have the "
                "same prefix."
            )
        extra = [name for name in found if name not in self]
        if extra and not ignore_extra:
            raise assertion_error(
                f"Parameter '{extra[0]}' loaded from file '{filename}' is not present in "
                f"ParameterDict, which contains parameters {_few(self)}. Set ignore_extra=True to "
                "ignore."
            )
        for name, parameter in self.items():
            if name in found:
                parameter._load_init(found[name], ctx, cast_dtype)  # noqa: SLF001 - its own

    def save(self, filename: str, strip_prefix: str = "") -> None:
        creation.save(
            filename, {name.removeprefix(strip_prefix): each.data() for name, each in self.items()}
        )

    def initialize(
        self, init: Any = None, ctx: Any = None, verbose: bool = False, force_reinit: bool = False
    ) -> None:
        del verbose
        for parameter in self.values():
            parameter.initialize(init, ctx, force_reinit=force_reinit)

    def reset_ctx(self, ctx: Any) -> None:
        for parameter in self.values():
            parameter.reset_ctx(ctx)

    def setattr(self, name: str, value: Any) -> None:
        for parameter in self.values():
            setattr(parameter, name, value)

    def __missing__(self, name: str) -> Parameter:
        raise key_error(name)


def _fits(wanted: Any, given: Any) -> bool:
    return len(wanted) == len(given) and all(
        not size or size == other for size, other in zip(wanted, given, strict=True)
    )


def _few(names: Any) -> str:
    listed = [f"'{name}'" for name in list(names)[:10]]
    return ", ".join(listed) + (", ..." if len(names) > 10 else "")
