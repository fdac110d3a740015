"""`Executor`: a symbol bound to arrays, on the accelerator or on the instance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import chance, inferring, queue
from elastic_inference.frameworks.mxnet.context import Context
from elastic_inference.frameworks.mxnet.errors import (
    inference_only,
    mxnet_error,
    no_gpu,
    type_error,
    value_error,
)
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap
from elastic_inference.frameworks.mxnet.storage import Chunk, frozen
from elastic_inference.frameworks.mxnet.symbol import Symbol
from elastic_inference.frameworks.mxnet.weights import looks_like_weights
from elastic_inference.protocol.tensors import Array

ONE_DEVICE = "Maximum one EIA device can be attached to an instance"


@dataclass(frozen=True, slots=True)
class _Result:
    """One output of a forward that is under way."""

    future: Future[list[Array]]
    index: int

    def result(self) -> Array:
        queue.seen(self.future)
        return self.future.result()[self.index]


class Executor:
    """A symbol bound to arrays. As in MXNet, its outputs are the same arrays each time.

    Attributes:
        arg_dict, aux_dict: the bound arrays by name; changing them changes what is computed.
        arg_arrays, aux_arrays, grad_arrays: the same in the symbol's order; there are no gradients.
        outputs: what the last `forward` gives. They wait when they are read.
    """

    def __init__(
        self,
        symbol: Symbol,
        context: Context,
        arguments: Mapping[str, NDArray],
        states: Mapping[str, NDArray],
        inputs: frozenset[str],
    ) -> None:
        from elastic_inference.frameworks.mxnet import running  # noqa: PLC0415 - runs models

        self._symbol = symbol
        self._ctx = context
        self.arg_dict = dict(arguments)
        self.aux_dict = dict(states)
        self.arg_arrays = list(self.arg_dict.values())
        self.aux_arrays = list(self.aux_dict.values())
        self.grad_dict: dict[str, NDArray | None] = dict.fromkeys(self.arg_dict)
        self.grad_arrays: list[NDArray | None] = [None] * len(self.arg_arrays)
        self._arrays = self.arg_dict | self.aux_dict
        known = {name: each.shape for name, each in self._arrays.items()}
        kinds = {name: np.dtype(each.dtype) for name, each in self._arrays.items()}
        described = inferring.outputs(symbol.graph, known, kinds)
        self._chunks = [Chunk(np.zeros(shape or (1,), dtype)) for shape, dtype in described]
        self.outputs = [
            NDArray(chunk, context=Context("cpu"), shape=shape, dtype=dtype)
            for chunk, (shape, dtype) in zip(self._chunks, described, strict=True)
        ]
        self._lane = queue.Lane()
        self._source = running.Source(symbol.graph, context, self._arrays, inputs)

    @property
    def output_dict(self) -> dict[str, NDArray]:
        names = self._symbol.list_outputs()
        if len(set(names)) != len(names):
            raise value_error(f"Duplicate names detected, {names}")
        return dict(zip(names, self.outputs, strict=True))

    def forward(self, is_train: bool = False, **arrays: Any) -> list[NDArray]:
        """Begin to compute the outputs, and go on. Keywords are new contents of arguments.

        Raises:
            TypeError: there is no such argument.
            ValueError: a shape is not the argument's.
            MXNetError: `is_train` is true: this is for inference only.
        """
        if is_train:
            raise inference_only("forward(is_train=True)")
        for name, given in arrays.items():
            self._set(name, given)
        model = self._source.current()
        feeds = {name: _snapshot(self._arrays[name]) for name in model.inputs}
        ticket = chance.ticket()

        def run() -> list[Array]:
            with chance.drawing(ticket):
                return model.run(feeds)

        future = self._lane.submit(run)
        for index, chunk in enumerate(self._chunks):
            chunk.expect(_Result(future, index))
        return self.outputs

    def _set(self, name: str, given: Any) -> None:
        if not isinstance(given, NDArray | np.ndarray):
            raise value_error("only accept keyword argument of NDArrays and numpy.ndarray")
        argument = self.arg_dict.get(name)
        if argument is None:
            raise type_error(f"Unknown argument {name}")
        if argument.shape != given.shape:
            raise value_error(
                f"Shape not match! Argument {name}, need: {argument.shape}, received: {given.shape}"
            )
        self._source.feed(name)
        argument.become(given)

    def backward(self, out_grads: Any = None, is_train: bool = True) -> None:
        """Refused: this is for inference only.

        Raises:
            MXNetError: always.
        """
        del out_grads, is_train
        raise inference_only("backward")

    def copy_params_from(
        self,
        arg_params: Mapping[str, NDArray],
        aux_params: Mapping[str, NDArray] | None = None,
        allow_extra_params: bool = False,
    ) -> None:
        """Take the contents of these arrays for those of the same name.

        Raises:
            ValueError: there is no such argument or state, or the shapes differ.
        """
        for given, own, what in (
            (arg_params, self.arg_dict, "arguments"),
            (aux_params or {}, self.aux_dict, "auxiliary states"),
        ):
            for name, array in given.items():
                target = own.get(name)
                if target is not None:
                    _check_shape(name, target, array)
                    target.become(array.astype(target.dtype, copy=False))
                elif not allow_extra_params:
                    raise value_error(f'Find name "{name}" that is not in the {what}')

    def reshape(
        self, partial_shaping: bool = False, allow_up_sizing: bool = False, **shapes: Any
    ) -> Executor:
        """An executor for other shapes. It takes this one's place: what this one holds on the
        accelerator is freed at once.

        Raises:
            ValueError, MXNetError: the shapes do not fit the symbol.
        """
        arg_shapes, _, aux_shapes = self._symbol.infer_shape(**shapes)
        if arg_shapes is None:
            raise value_error("Insufficient argument shapes provided.")
        arguments = {
            name: _resized(name, self.arg_dict[name], shape, name in shapes or partial_shaping,
                           allow_up_sizing=allow_up_sizing)
            for name, shape in zip(self.arg_dict, arg_shapes, strict=True)
        }  # fmt: skip
        states = {
            name: _resized(name, self.aux_dict[name], shape, partial_shaping,
                           allow_up_sizing=allow_up_sizing)
            for name, shape in zip(self.aux_dict, aux_shapes, strict=True)
        }  # fmt: skip
        made = Executor(self._symbol, self._ctx, arguments, states, self._source.inputs)
        self.close()
        return made

    def close(self) -> None:
        """Free what it holds on the accelerator; another `forward` would load it again."""
        self._source.close()

    def debug_str(self) -> str:
        return self._symbol.debug_str()

    def set_monitor_callback(self, callback: Any, monitor_all: bool = False) -> None:
        """Refused: results inside of a model stay on the accelerator.

        Raises:
            MXNetError: always.
        """
        del callback, monitor_all
        raise mxnet_error(
            "src/executor/graph_executor.cc:121",
            "A monitor is not supported. Take the results that you want to see as outputs: "
            "mx.sym.Group([symbol, symbol.get_internals()['NAME_output']]).",
        )


def bind(
    symbol: Symbol,
    context: Context,
    args: Any,
    aux_states: Any,
    *,
    args_grad: Any = None,
    grad_req: Any = "null",
    group2ctx: Any = None,
    shared: Executor | None = None,
    inputs: Collection[str] | None = None,
) -> Executor:
    """See `Symbol.bind`; `inputs` are the arguments that calls bring, where that is known."""
    del args_grad, grad_req, shared  # there are no gradients, and memory is shared anyway
    _check_context(context, group2ctx)
    arguments = _by_name("args", args, symbol.list_arguments())
    states = _by_name("aux_states", aux_states, symbol.list_auxiliary_states())
    made = Executor(symbol, context, arguments, states, _inputs(symbol, inputs, ()))
    made._source.prepare()  # noqa: SLF001 - what cannot be run is said now
    return made


def simple_bind(
    symbol: Symbol,
    context: Context,
    shapes: Mapping[str, Any],
    *,
    type_dict: Mapping[str, Any] | None = None,
    grad_req: Any = "null",
    group2ctx: Any = None,
    shared: Executor | None = None,
    inputs: Collection[str] | None = None,
) -> Executor:
    """See `Symbol.simple_bind`; `inputs` as of `bind`."""
    del grad_req
    _check_context(context, group2ctx)
    known = {name: tuple(np.atleast_1d(shape).tolist()) for name, shape in shapes.items()}
    described = inferring.variables(symbol.graph, known, type_dict or {})
    kept = shared.arg_dict | shared.aux_dict if shared is not None else {}

    def array(name: str) -> NDArray:
        shape, dtype = described[name]
        old = kept.get(name)
        if old is not None and old.shape == shape and name not in known:
            return old
        return wrap(np.zeros(shape, dtype), Context("cpu"))

    arguments = {name: array(name) for name in symbol.list_arguments()}
    states = {name: array(name) for name in symbol.list_auxiliary_states()}
    made = Executor(symbol, context, arguments, states, _inputs(symbol, inputs, known))
    made._source.check()  # noqa: SLF001 - what cannot be run is said now
    return made


def _inputs(symbol: Symbol, told: Collection[str] | None, given: Collection[str]) -> frozenset[str]:
    """The arguments that calls bring: those that are told, else those that look like it."""
    arguments = symbol.list_arguments()
    if told is not None:
        return frozenset(told).intersection(arguments)
    weights = looks_like_weights(symbol.graph).difference(given)
    return frozenset(arguments) - weights


def _check_context(context: Context, group2ctx: Any) -> None:
    contexts = [context, *(group2ctx or {}).values()]
    if any(each.device_type == "gpu" for each in contexts):
        raise no_gpu()
    if group2ctx and any(each.device_type == "eia" for each in contexts):
        raise value_error(ONE_DEVICE)


def _by_name(what: str, given: Any, names: Sequence[str]) -> dict[str, NDArray]:
    given = {} if given is None else given
    if isinstance(given, Mapping):
        for name in names:
            if name not in given:
                raise value_error(f"key `{name}` is missing in `{what}`")
        found = {name: given[name] for name in names}
    else:
        if len(given) != len(names):
            raise value_error(f"Length of {what} does not match the number of arguments")
        found = dict(zip(names, given, strict=True))
    for each in found.values():
        if not isinstance(each, NDArray):
            raise type_error("Only accept list of NDArrays or dict of str to NDArray")
    return found


def _check_shape(name: str, target: NDArray, given: NDArray) -> None:
    if target.shape != given.shape:
        raise value_error(
            f"Shape not match! Argument {name}, need: {target.shape}, received: {given.shape}"
        )


def _resized(
    name: str, old: NDArray, shape: Any, wanted: bool, *, allow_up_sizing: bool
) -> NDArray:
    if old.shape == tuple(shape):
        return old
    if not wanted:
        raise value_error(
            f"Shape of unspecified array arg:{name} changed. This can cause the new executor to "
            "not share parameters with the old one. Please check for error in network. If this "
            "is intended, set partial_shaping=True to suppress this warning."
        )
    if int(np.prod(shape)) > old.size and not allow_up_sizing:
        raise mxnet_error(
            "src/executor/graph_executor.cc:929",
            f"Check failed: allow_up_sizing: New shape of arg: {name} is larger than original. "
            "First making a big executor and then down sizing it is more efficient than the "
            "reverse. If you really want to up size, set allow_up_sizing=True to enable "
            "allocation of new arrays.",
        )
    return wrap(np.zeros(tuple(shape), old.dtype), old.context)


def _snapshot(array: NDArray) -> Any:
    """What the array holds now, or will when what is being computed has ended."""
    pending = array.pending
    return pending if pending is not None else frozen(array.array)


__all__ = ["Executor", "bind", "simple_bind"]
