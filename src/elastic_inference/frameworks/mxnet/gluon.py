"""Gluon as far as Elastic Inference knows it: blocks of exported symbols."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import creation, executor, model, symbol
from elastic_inference.frameworks.mxnet.context import current_context, eia
from elastic_inference.frameworks.mxnet.errors import (
    mxnet_error,
    no_gpu,
    type_error,
    value_error,
)
from elastic_inference.frameworks.mxnet.executor import ONE_DEVICE, Executor
from elastic_inference.frameworks.mxnet.gluon_parameters import Parameter, ParameterDict
from elastic_inference.frameworks.mxnet.ndarray import NDArray
from elastic_inference.frameworks.mxnet.symbol import Group, Symbol

# How many shapes of inputs stay loaded at a time.
_MOST_SHAPES = 4
_OURS = frozenset({"EIA", "EI"})


class Block:
    """A part of a network with parameters. Those here are made of symbols."""

    def __init__(self) -> None:
        self._context = current_context()
        self._params = ParameterDict()

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def prefix(self) -> str:
        """In front of the names of its parameters: nothing, they are the symbol's."""
        return ""

    @property
    def params(self) -> ParameterDict:
        return self._params

    def collect_params(self, select: str | None = None) -> ParameterDict:
        """The parameters, or those whose names match the regular expression `select`."""
        if select is None:
            return self._params
        chosen = re.compile(select)
        return ParameterDict((name, each) for name, each in self._params.items()
                             if chosen.match(name))  # fmt: skip

    def load_parameters(
        self,
        filename: str,
        ctx: Any = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """Take the parameters of a file, and run on `ctx` from now on; errors as
        `ParameterDict.load`.
        """
        self._params.load(filename, ctx, allow_missing, ignore_extra, "", cast_dtype, dtype_source)

    load_params = load_parameters

    def save_parameters(self, filename: str, deduplicate: bool = False) -> None:
        del deduplicate
        self._params.save(filename)

    def initialize(
        self, init: Any = None, ctx: Any = None, verbose: bool = False, force_reinit: bool = False
    ) -> None:
        self._params.initialize(init, ctx, verbose, force_reinit)
        self.reset_ctx(ctx)

    def reset_ctx(self, ctx: Any) -> None:
        """Run on `ctx` from now on.

        Raises:
            ValueError: these are several accelerators.
            MXNetError: it is a GPU.
        """
        if ctx is None:
            return
        contexts = list(ctx) if isinstance(ctx, list | tuple) else [ctx]
        if len(contexts) > 1 and any(each.device_type == "eia" for each in contexts):
            raise value_error(ONE_DEVICE)
        if contexts[0].device_type == "gpu":
            raise no_gpu()
        self._context = contexts[0]

    def cast(self, dtype: Any) -> None:
        for parameter in self._params.values():
            parameter.cast(dtype)

    def __call__(self, *inputs: Any) -> Any:
        return self.forward(*inputs)

    def forward(self, *inputs: Any) -> Any:
        raise type_error(f"{type(self).__name__} has no forward({len(inputs)} inputs)")


class HybridBlock(Block):
    """A block that can be exported as a symbol."""

    def hybridize(
        self,
        active: bool = True,
        backend: str | None = None,
        backend_opts: Any = None,
        **_: Any,
    ) -> None:
        """`backend='EIA'` runs the block on the accelerator.

        Raises:
            MXNetError: there is no such backend.
        """
        del backend_opts
        if not active or backend is None:
            return
        if backend.upper() not in _OURS:
            raise mxnet_error(
                "src/c_api/c_api_symbolic.cc:1406", f"Error optimizing for backend '{backend}'"
            )
        self.reset_ctx(eia())

    def optimize_for(
        self, x: Any, *more: Any, backend: str | None = None, backend_opts: Any = None, **_: Any
    ) -> None:
        """As `hybridize`; and run it once with this input."""
        self.hybridize(backend=backend, backend_opts=backend_opts)
        self(x, *more)


class SymbolBlock(HybridBlock):
    """A block of a symbol, its inputs, and parameters for all its other arguments."""

    def __init__(self, outputs: Any, inputs: Any, params: Any = None) -> None:
        super().__init__()
        self._symbol = Group(list(outputs)) if isinstance(outputs, list | tuple) else outputs
        self._inputs = [str(each.name) for each in _symbols(inputs)]
        states = set(self._symbol.list_auxiliary_states())
        declared = self._symbol.attr_dict()
        for name in self._symbol.list_inputs():
            if name not in self._inputs:
                shape = declared.get(name, {}).get("__shape__")
                self._params[name] = Parameter(name, _shape(shape), owner=self)
        self._states = [name for name in self._params if name in states]
        for name, given in dict(params or {}).items():
            data = given.data() if isinstance(given, Parameter) else given
            if name in self._params:
                self._params[name].set_data(data)
        self._executors: OrderedDict[Any, Executor] = OrderedDict()

    @staticmethod
    def imports(
        symbol_file: str,
        input_names: Any,
        param_file: str | None = None,
        ctx: Any = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
    ) -> SymbolBlock:
        """The block of an exported model, to run on `ctx`.

        Raises:
            InvalidRequestError: a file cannot be read.
            AssertionError: parameters are missing, or there are others, and that is not allowed.
        """
        names = [input_names] if isinstance(input_names, str) else list(input_names)
        made = SymbolBlock(symbol.load(symbol_file), [symbol.var(name) for name in names])
        if param_file is not None:
            made.load_parameters(param_file, None, allow_missing, ignore_extra)
        made.reset_ctx(ctx)
        return made

    def reset_ctx(self, ctx: Any) -> None:
        before = self._context
        super().reset_ctx(ctx)
        if self._context != before:
            self.close()

    def forward(self, *inputs: Any) -> Any:
        """Begin to compute the outputs for these arrays; they wait when they are read.

        Raises:
            RuntimeError: a parameter has no values.
            MXNetError, ValueError: the inputs do not fit.
        """
        if inputs and isinstance(inputs[0], Symbol):
            return self._symbol(**dict(zip(self._inputs, inputs, strict=True)))
        if len(inputs) != len(self._inputs):
            raise value_error(f"The block takes {self._inputs}, and {len(inputs)} are given")
        arrays = [each if isinstance(each, NDArray) else creation.array(each) for each in inputs]
        bound = self._bound(arrays)
        bound.forward(is_train=False, **dict(zip(self._inputs, arrays, strict=True)))
        # The next call fills the same arrays.
        outputs = [each.copy() for each in bound.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def _bound(self, arrays: Sequence[NDArray]) -> Executor:
        parameters = {name: each.data() for name, each in self._params.items()}
        key = tuple((each.shape, np.dtype(each.dtype).str) for each in arrays)
        found = self._executors.get(key)
        if found is not None and _same(found, parameters):
            self._executors.move_to_end(key)
            return found
        if found is not None:
            found.close()
        given = {name: each.copy() for name, each in zip(self._inputs, arrays, strict=True)}
        states = {name: parameters.pop(name) for name in self._states}
        made = executor.bind(
            self._symbol, self._context, parameters | given, states, inputs=self._inputs
        )
        self._executors[key] = made
        if len(self._executors) > _MOST_SHAPES:
            self._executors.popitem(last=False)[1].close()
        return made

    def export(self, path: str, epoch: int = 0, remove_amp_cast: bool = True) -> tuple[str, str]:
        """Write the files that `SymbolBlock.imports` and `load_checkpoint` read; their names."""
        data = {name: each.data() for name, each in self._params.items()}
        states = {name: data.pop(name) for name in self._states}
        model.save_checkpoint(path, epoch, self._symbol, data, states, remove_amp_cast)
        return f"{path}-symbol.json", f"{path}-{epoch:04d}.params"

    def close(self) -> None:
        """Free what it holds on the accelerator."""
        for each in self._executors.values():
            each.close()
        self._executors.clear()


def _symbols(given: Any) -> list[Symbol]:
    return list(given) if isinstance(given, list | tuple) or len(given) > 1 else [given]


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    return tuple(int(each) for each in re.findall(r"-?\d+", text)) or None


def _same(bound: Executor, parameters: dict[str, NDArray]) -> bool:
    arrays = bound.arg_dict | bound.aux_dict
    return all(arrays[name] is each for name, each in parameters.items())


__all__ = [
    "Block",
    "HybridBlock",
    "Parameter",
    "ParameterDict",
    "SymbolBlock",
]
