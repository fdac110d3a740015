"""`Module`: a symbol with its parameters, run on batches."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import creation, executor, initializer, model
from elastic_inference.frameworks.mxnet.base_module import BaseModule, check_names, described
from elastic_inference.frameworks.mxnet.bucketing_module import BucketingModule
from elastic_inference.frameworks.mxnet.context import Context, cpu
from elastic_inference.frameworks.mxnet.errors import (
    assertion_error,
    inference_only,
    no_gpu,
    runtime_error,
    value_error,
)
from elastic_inference.frameworks.mxnet.executor import ONE_DEVICE, Executor
from elastic_inference.frameworks.mxnet.io import DataDesc
from elastic_inference.frameworks.mxnet.ndarray import NDArray
from elastic_inference.frameworks.mxnet.symbol import Symbol

Arrays = Mapping[str, NDArray]


class Module(BaseModule):
    """A symbol that is bound to a context by the shapes of its data.

    A batch of another shape binds it again, and frees what was bound before.
    """

    def __init__(
        self,
        symbol: Symbol,
        data_names: Sequence[str] | None = ("data",),
        label_names: Sequence[str] | None = ("softmax_label",),
        logger: Any = logging,
        context: Any = None,
        work_load_list: Any = None,
        fixed_param_names: Any = None,
        state_names: Sequence[str] | None = None,
        group2ctxs: Any = None,
        compression_params: Any = None,
    ) -> None:
        super().__init__(logger)
        del work_load_list, fixed_param_names, compression_params  # these are of training
        self._context = _only(context, group2ctxs)
        self._symbol = symbol
        self._data_names = list(data_names or [])
        self._label_names = list(label_names or [])
        self._state_names = list(state_names or [])
        arguments = symbol.list_arguments()
        for names, what, throw in (
            (self._data_names, "data", True),
            (self._label_names, "label", False),
            (self._state_names, "state", True),
        ):
            check_names(arguments, names, what, throw=throw, logger=logger)
        given = {*self._data_names, *self._label_names, *self._state_names}
        self._param_names = [name for name in arguments if name not in given]
        self._aux_names = symbol.list_auxiliary_states()
        self._output_names = symbol.list_outputs()
        self._data_shapes: list[DataDesc] | None = None
        self._label_shapes: list[DataDesc] | None = None
        self._executor: Executor | None = None
        self._given: tuple[Arrays, Arrays] | None = None

    @staticmethod
    def load(prefix: str, epoch: int, load_optimizer_states: bool = False, **keywords: Any) -> Any:
        """A module of a checkpoint; its parameters are set when it is bound."""
        del load_optimizer_states
        symbol, arguments, states = model.load_checkpoint(prefix, epoch)
        made = Module(symbol, **keywords)
        made._given = arguments, states
        made.params_initialized = True
        return made

    def save_checkpoint(
        self,
        prefix: str,
        epoch: int,
        save_optimizer_states: bool = False,
        remove_amp_cast: bool = True,
    ) -> None:
        del save_optimizer_states
        model.save_checkpoint(prefix, epoch, self._symbol, *self.get_params(), remove_amp_cast)

    def save_params(self, fname: str) -> None:
        creation.save(fname, model.joined(*self.get_params()))

    def load_params(self, fname: str) -> None:
        self.set_params(*model.divided(creation.load(fname)))

    # What it is.

    @property
    def symbol(self) -> Symbol:
        return self._symbol

    @property
    def data_names(self) -> list[str]:
        return self._data_names

    @property
    def label_names(self) -> list[str]:
        return self._label_names

    @property
    def output_names(self) -> list[str]:
        return self._output_names

    @property
    def data_shapes(self) -> list[DataDesc]:
        self._check_bound()
        return self._data_shapes or []

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        self._check_bound()
        return self._label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        outputs = self._check_bound().outputs
        return [(name, each.shape) for name, each in zip(self._output_names, outputs, strict=True)]

    def _check_bound(self) -> Executor:
        if not self.binded or self._executor is None:
            raise assertion_error("the module is not bound")
        return self._executor

    # Binding and parameters.

    def bind(
        self,
        data_shapes: Any,
        label_shapes: Any = None,
        for_training: bool = True,
        inputs_need_grad: bool = False,
        force_rebind: bool = False,
        shared_module: Any = None,
        grad_req: Any = "write",
    ) -> None:
        """Bind the symbol to the context; a second time does nothing without `force_rebind`.

        Args:
            data_shapes, label_shapes: pairs of name and shape.
            shared_module: take its arrays where the shapes are the same.

        Raises:
            ValueError: `for_training` is true and the context is the accelerator, or names and
                shapes are not the symbol's.
            MXNetError: shapes contradict each other, an operator cannot be run, or there is no
                accelerator.
        """
        del grad_req
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        if for_training and self._context.device_type == "eia":
            raise value_error("for training cannot be set to true with EIA context")
        if inputs_need_grad:
            raise inference_only("inputs_need_grad")
        if self._context.device_type == "gpu":
            raise no_gpu()
        self.for_training = for_training
        shared = shared_module._check_bound() if shared_module is not None else None  # noqa: SLF001
        kept = self._executor
        self._bind(described(data_shapes) or [], described(label_shapes), shared or kept)
        if kept is not None:
            kept.close()
        if shared_module is not None:
            self.params_initialized = shared_module.params_initialized
        if self._given is not None:
            self._set(*self._given, allow_extra=True)
            self._given = None

    def _bind(
        self, data: list[DataDesc], labels: list[DataDesc] | None, shared: Executor | None
    ) -> None:
        if sorted(each.name for each in data) != sorted(self._data_names):
            raise value_error(
                f"Data provided by data_shapes don't match names specified by data_names "
                f"({data} vs. {self._data_names})"
            )
        arguments = set(self._symbol.list_arguments())
        given = [*data, *(each for each in labels or [] if each.name in arguments)]
        self._executor = executor.simple_bind(
            self._symbol,
            self._context,
            {each.name: each.shape for each in given},
            type_dict={each.name: each.dtype for each in given},
            shared=shared,
            inputs=self._data_names + self._label_names + self._state_names,
        )
        self._data_shapes, self._label_shapes = data, labels or None
        self.binded = True

    def reshape(self, data_shapes: Any, label_shapes: Any = None) -> None:
        """Bind again for other shapes, with the same parameters; frees what was bound before."""
        old = self._check_bound()
        self._bind(described(data_shapes) or [], described(label_shapes), old)
        old.close()

    def init_params(
        self,
        initializer: Any = None,
        arg_params: Arrays | None = None,
        aux_params: Arrays | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        """Set the parameters, and draw those that are not given.

        Raises:
            AssertionError: it is not bound.
            RuntimeError: one is not given, and `allow_missing` is false.
        """
        del allow_extra
        if self.params_initialized and not force_init:
            self.logger.warning("Parameters already initialized and force_init=False.")
            return
        if not self.binded:
            raise assertion_error("call bind before initializing the parameters")
        bound = self._check_bound()
        draw = _initializer(initializer)
        for given, own in ((arg_params, self._own_parameters()), (aux_params, bound.aux_dict)):
            for name, array in own.items():
                if given and name in given:
                    _take(bound, name, given[name])
                elif given is not None and not allow_missing:
                    raise runtime_error(f"{name} is not presented")
                else:
                    draw(name, array)
        self.params_initialized = True

    def set_params(
        self,
        arg_params: Arrays,
        aux_params: Arrays,
        allow_missing: bool = False,
        force_init: bool = True,
        allow_extra: bool = False,
    ) -> None:
        """Set the parameters.

        Raises:
            RuntimeError: one is not given, and `allow_missing` is false.
            ValueError: the symbol has no such parameter, and `allow_extra` is false; or a shape
                is another.
        """
        bound = self._check_bound()
        if self.params_initialized and not force_init:
            self.logger.warning("Parameters already initialized and force_init=False.")
            return
        if not allow_missing:
            for given, own in (
                (arg_params, self._own_parameters()),
                (aux_params, bound.aux_dict),
            ):
                for name in own:
                    if name not in (given or {}):
                        raise runtime_error(f"{name} is not presented")
        self._set(arg_params, aux_params or {}, allow_extra=allow_extra)

    def _set(self, arg_params: Arrays, aux_params: Arrays, *, allow_extra: bool) -> None:
        bound = self._check_bound()
        bound.copy_params_from(arg_params, aux_params, allow_extra_params=allow_extra)
        self.params_initialized = True

    def _own_parameters(self) -> dict[str, NDArray]:
        arguments = self._check_bound().arg_dict
        return {name: arguments[name] for name in self._param_names}

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Copies of the parameters and the auxiliary states."""
        self._check_ready()
        states = self._check_bound().aux_dict
        return (
            {name: each.copy() for name, each in self._own_parameters().items()},
            {name: each.copy() for name, each in states.items()},
        )

    # Running.

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        """Begin to compute the outputs of a batch: anything with arrays in `data`.

        Raises:
            AssertionError: it is not bound, or has no parameters.
            MXNetError: this is training.
        """
        self._check_ready()
        if is_train or (is_train is None and self.for_training):
            raise inference_only("forward of a module that is bound for training")
        arrays = [_array(each) for each in data_batch.data]
        labels = [_array(each) for each in getattr(data_batch, "label", None) or []]
        names = [each.name for each in self.data_shapes]
        if len(arrays) != len(names):
            raise value_error(f"The batch has {len(arrays)} arrays of data, not {len(names)}")
        if [each.shape for each in arrays] != [tuple(each.shape) for each in self.data_shapes]:
            self.reshape(*self._shapes_of(data_batch, arrays, labels))
        bound = self._check_bound()
        feeds = dict(zip(names, arrays, strict=True))
        known = bound.arg_dict
        for each, array in zip(self._label_shapes or [], labels, strict=False):
            if each.name in known and known[each.name].shape == array.shape:
                feeds[each.name] = array
        bound.forward(is_train=False, **feeds)

    def _shapes_of(
        self, batch: Any, arrays: list[NDArray], labels: list[NDArray]
    ) -> tuple[Any, Any]:
        data = getattr(batch, "provide_data", None) or [
            DataDesc(old.name, array.shape, old.dtype, old.layout)
            for old, array in zip(self.data_shapes, arrays, strict=True)
        ]
        label = getattr(batch, "provide_label", None)
        if not label and labels and self._label_shapes:
            label = [
                DataDesc(old.name, array.shape, old.dtype, old.layout)
                for old, array in zip(self._label_shapes, labels, strict=False)
            ]
        return data, label

    def get_outputs(self, merge_multi_context: bool = True) -> Any:
        """The outputs of the last batch; they wait when they are read."""
        self._check_ready()
        outputs = self._check_bound().outputs
        return list(outputs) if merge_multi_context else [[each] for each in outputs]

    def get_states(self, merge_multi_context: bool = True) -> Any:
        states = [self._check_bound().arg_dict[name] for name in self._state_names]
        return states if merge_multi_context else [[each] for each in states]

    def set_states(self, states: Any = None, value: Any = None) -> None:
        own = self.get_states()
        for index, each in enumerate(own):
            if states is None:
                each[:] = value
            else:
                given = states[index]
                each[:] = given[0] if isinstance(given, list) else given

    def close(self) -> None:
        """Free what it holds on the accelerator."""
        if self._executor is not None:
            self._executor.close()


def _only(context: Any, group2ctxs: Any) -> Context:
    """The one context that a module runs on.

    Raises:
        ValueError: there are several accelerators, or several contexts.
    """
    contexts = [context or cpu()] if not isinstance(context, list | tuple) else list(context)
    groups = group2ctxs if isinstance(group2ctxs, list) else [group2ctxs or {}]
    others: list[Any] = []
    for group in groups:
        for each in group.values():
            others += each if isinstance(each, list) else [each]
    if any(each.device_type == "eia" for each in (*contexts, *others)) and (
        len(contexts) > 1 or others
    ):
        raise value_error(ONE_DEVICE)
    if any(each.device_type == "gpu" for each in contexts):
        raise no_gpu()
    # The processors of the instance are one device here, however many contexts name them.
    first: Context = contexts[0]
    return first


def _initializer(given: Any) -> Any:
    return initializer.create(given) if given is not None else initializer.Uniform(0.01)


def _take(bound: Executor, name: str, array: NDArray) -> None:
    if name in bound.aux_dict:
        bound.copy_params_from({}, {name: array})
    else:
        bound.copy_params_from({name: array})


def _array(given: Any) -> NDArray:
    return given if isinstance(given, NDArray) else creation.array(given, dtype=np.float32)


__all__ = ["BaseModule", "BucketingModule", "Module"]
