"""`BucketingModule`: a symbol for each kind of batch, all with the same parameters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from elastic_inference.frameworks.mxnet.base_module import BaseModule
from elastic_inference.frameworks.mxnet.errors import assertion_error
from elastic_inference.frameworks.mxnet.io import DataDesc
from elastic_inference.frameworks.mxnet.symbol import Symbol

if TYPE_CHECKING:
    from elastic_inference.frameworks.mxnet.module import Module

SymbolOf = Callable[[Any], tuple[Symbol, Any, Any]]


class BucketingModule(BaseModule):
    """Runs each batch on the module of its `bucket_key`, which is made when it first comes."""

    def __init__(
        self,
        sym_gen: SymbolOf,
        default_bucket_key: Any = None,
        logger: Any = logging,
        context: Any = None,
        work_load_list: Any = None,
        fixed_param_names: Any = None,
        state_names: Any = None,
        group2ctxs: Any = None,
        compression_params: Any = None,
    ) -> None:
        super().__init__(logger)
        del work_load_list, fixed_param_names, compression_params  # these are of training
        if default_bucket_key is None:
            raise assertion_error("default_bucket_key is needed")
        self._sym_gen = sym_gen
        self._default_key = default_bucket_key
        self._settings = {
            "logger": logger,
            "context": context,
            "state_names": state_names,
            "group2ctxs": group2ctxs,
        }
        self._buckets: dict[Any, Module] = {}
        self._current_key: Any = None
        # A wrong context is refused at once.
        self._module(default_bucket_key)

    def _module(self, key: Any) -> Module:
        from elastic_inference.frameworks.mxnet.module import Module  # noqa: PLC0415 - needs this

        symbol, data_names, label_names = self._sym_gen(key)
        return Module(symbol, data_names, label_names, **self._settings)

    @property
    def _current(self) -> Module:
        if self._current_key is None:
            raise assertion_error("call bind before switching bucket")
        return self._buckets[self._current_key]

    @property
    def symbol(self) -> Symbol:
        return self._current.symbol

    @property
    def data_names(self) -> list[str]:
        return self._current.data_names

    @property
    def output_names(self) -> list[str]:
        return self._current.output_names

    @property
    def data_shapes(self) -> list[DataDesc]:
        return self._current.data_shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        return self._current.label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        return self._current.output_shapes

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
        """Bind the module of the default key; errors as `Module.bind`."""
        del shared_module
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        module = self._module(self._default_key)
        module.bind(data_shapes, label_shapes, for_training, inputs_need_grad, grad_req=grad_req)
        self.close()
        self._buckets = {self._default_key: module}
        self._current_key = self._default_key
        self.binded, self.for_training = True, for_training

    def switch_bucket(self, bucket_key: Any, data_shapes: Any, label_shapes: Any = None) -> None:
        """Go on with the module of `bucket_key`."""
        if not self.binded:
            raise assertion_error("call bind before switching bucket")
        if bucket_key not in self._buckets:
            module = self._module(bucket_key)
            first = self._buckets[self._default_key]
            module.bind(data_shapes, label_shapes, self.for_training, shared_module=first)
            self._buckets[bucket_key] = module
        self._current_key = bucket_key

    def init_params(self, *arguments: Any, **keywords: Any) -> None:
        self._first("init_params", *arguments, **keywords)

    def set_params(self, *arguments: Any, **keywords: Any) -> None:
        """Set the parameters of all modules; errors as `Module.set_params`."""
        self._first("set_params", *arguments, **keywords)

    def _first(self, method: str, *arguments: Any, **keywords: Any) -> None:
        if not self.binded:
            raise assertion_error("call bind before initializing the parameters")
        # The arrays of the parameters are the same in all of them.
        getattr(self._buckets[self._default_key], method)(*arguments, **keywords)
        for module in self._buckets.values():
            module.params_initialized = True
        self.params_initialized = True

    def get_params(self) -> Any:
        self._check_ready()
        return self._buckets[self._default_key].get_params()

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        self._check_ready()
        key = getattr(data_batch, "bucket_key", None)
        self.switch_bucket(
            self._default_key if key is None else key,
            getattr(data_batch, "provide_data", None) or self.data_shapes,
            getattr(data_batch, "provide_label", None),
        )
        self._current.params_initialized = True
        self._current.forward(data_batch, is_train)

    def get_outputs(self, merge_multi_context: bool = True) -> Any:
        self._check_ready()
        return self._current.get_outputs(merge_multi_context)

    def close(self) -> None:
        """Free what all modules hold on the accelerator."""
        for module in self._buckets.values():
            module.close()
