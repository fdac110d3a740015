"""`InferenceSession` on an accelerator."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from elastic_inference.errors import (
    ElasticInferenceError,
    InvalidRequestError,
    ModelFormatError,
    UnavailableError,
)
from elastic_inference.frameworks import attach
from elastic_inference.frameworks.onnxruntime import real
from elastic_inference.frameworks.onnxruntime.binding import IOBinding
from elastic_inference.frameworks.onnxruntime.failures import (
    python_error,
    status_error,
    translate,
)
from elastic_inference.frameworks.onnxruntime.loading import load
from elastic_inference.frameworks.onnxruntime.options import SessionOptions, reasons_for_local
from elastic_inference.frameworks.onnxruntime.runners import RemoteRunner, Runner
from elastic_inference.frameworks.onnxruntime.values import (
    NodeArg,
    from_ort_value,
    node_arg,
    to_ort_value,
)

_ASYNC_THREADS = 8


class InferenceSession(real.InferenceSession):  # type: ignore[misc]  # the real class is untyped
    """`onnxruntime.InferenceSession`, whose model runs on the accelerator.

    Takes what ONNX Runtime's takes, and `accelerator` besides: an id, an ordinal, or an
    `elastic_inference.Accelerator`. Where no accelerator is visible to the process, and where
    the session options ask for what only the local engine does, it is a local session.

    Raises:
        ElasticInferenceError: the accelerator failed; for a model or an input that does not
            fit, an error that is ONNX Runtime's too.
    """

    _runner: Runner | None = None
    _fast: Callable[..., Any] | None = None

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: Any = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,
        *,
        accelerator: Any = None,
        **kwargs: Any,
    ) -> None:
        self._arguments = (path_or_bytes, sess_options, providers, provider_options)
        self._keywords = kwargs
        self._lock = threading.Lock()
        self._beside: Any = None
        try:
            target = attach.accelerator(accelerator)
        except UnavailableError as error:
            self._lose(error)
            return
        reasons = reasons_for_local(path_or_bytes, sess_options)
        if target is None or reasons or not _is_model_source(path_or_bytes):
            if target is not None and reasons:
                _warn_local("; ".join(reasons))
            self._open_locally()
            return
        try:
            runner = load(target, path_or_bytes, sess_options, kwargs)
        except (ModelFormatError, InvalidRequestError) as error:
            # The local engine says best what is wrong with a model, in its own words.
            self._open_locally()
            refused = translate(error)
            self._close_local()
            raise refused from error
        except UnavailableError as error:
            self._lose(error)
            return
        except ElasticInferenceError as error:
            raise translate(error) from error
        if runner is None:
            _warn_local("the model has nothing that the accelerator runs")
            self._open_locally()
            return
        self._adopt(runner)

    def _open_locally(self) -> None:
        path_or_bytes, sess_options, providers, provider_options = self._arguments
        super().__init__(path_or_bytes, sess_options, providers, provider_options, **self._keywords)
        # Last: until now other threads must not take this for a local session.
        self._runner = self._fast = None

    def _close_local(self) -> None:
        self._sess = None

    def _adopt(self, runner: Runner) -> None:
        """Show the model as ONNX Runtime's own sessions do, whose getters read these."""
        path_or_bytes, sess_options, providers, provider_options = self._arguments
        _check_providers(providers, provider_options)
        self._runner = runner
        if isinstance(runner, RemoteRunner) and runner.plain:
            self._fast = runner.model.run
        self._sess = None
        self._enable_fallback = int(self._keywords.get("enable_fallback", 1)) == 1
        self._captured_graph_bindings: dict[int, Any] = {}
        self._model_path = None if isinstance(path_or_bytes, bytes) else os.fspath(path_or_bytes)
        self._model_bytes = path_or_bytes if isinstance(path_or_bytes, bytes) else None
        self._sess_options_initial = sess_options
        self._sess_options = SessionOptions() if sess_options is None else sess_options
        self._inputs_meta = [node_arg(spec) for spec in runner.inputs]
        self._outputs_meta = [node_arg(spec) for spec in runner.outputs]
        self._model_meta = runner.metadata
        self._providers = list(runner.providers)
        self._fallback_providers = ["CPUExecutionProvider"]
        self._provider_options: dict[str, dict[str, str]] = {name: {} for name in self._providers}
        self._profiling_start_time_ns = 0
        self._input_epdevices = [None] * len(self._inputs_meta)
        memory = _cpu_memory()
        self._input_meminfos = [memory] * len(self._inputs_meta)
        self._output_meminfos = [memory] * len(self._outputs_meta)

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: Any = None,
    ) -> list[Any]:
        """Compute `output_names` (all, if None or empty) from `input_feed`."""
        fast = self._fast
        if fast is not None and run_options is None:
            try:
                return fast(input_feed, output_names or None)  # type: ignore[no-any-return]
            except UnavailableError as error:
                return self._go_on(error, output_names, input_feed, run_options)
            except (InvalidRequestError, TypeError, AttributeError, ValueError):
                # Lists, OrtValues and mistakes: converted, or refused in ORT's words.
                return self._run(output_names, input_feed)
            except ElasticInferenceError as error:
                raise translate(error) from error
        if self._runner is None:
            return super().run(output_names, input_feed, run_options)  # type: ignore[no-any-return]
        if run_options is not None:
            _check_run_options(run_options)
            if getattr(run_options, "adapters", None):
                return self._local("a run uses adapters").run(  # type: ignore[no-any-return]
                    output_names, input_feed, run_options
                )
        return self._run(output_names, input_feed)

    def _run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> list[Any]:
        runner = self._runner
        if runner is None:
            return super().run(output_names, input_feed)  # type: ignore[no-any-return]
        input_feed.keys()  # no mapping: ONNX Runtime's own AttributeError
        try:
            return runner.run(output_names, input_feed)
        except UnavailableError as error:
            return self._go_on(error, output_names, input_feed, None)
        except ElasticInferenceError as error:
            raise translate(error) from error

    def _go_on(
        self, error: UnavailableError, output_names: Any, input_feed: Any, run_options: Any
    ) -> list[Any]:
        with self._lock:
            if self._runner is not None:
                self._lose(error)
        return super().run(output_names, input_feed, run_options)  # type: ignore[no-any-return]

    def _lose(self, error: UnavailableError) -> None:
        if not attach.goes_on_locally():
            raise error
        consequence = "this session goes on with the local ONNX Runtime"
        attach.warn_of_loss(error, consequence, stacklevel=5)
        self._open_locally()

    def _local(self, reason: str) -> Any:
        """A local session beside the remote one, for runs that only the local engine can do."""
        with self._lock:
            if self._beside is None:
                _warn_local(reason)
                path_or_bytes, sess_options, providers, provider_options = self._arguments
                self._beside = real.InferenceSession(
                    path_or_bytes, sess_options, providers, provider_options, **self._keywords
                )
            return self._beside

    def run_async(
        self,
        output_names: Any,
        input_feed: Any,
        callback: Callable[..., Any],
        user_data: Any,
        run_options: Any = None,
    ) -> None:
        """Compute in another thread; `callback(results, user_data, error)` gets the outcome."""
        if self._runner is None:
            super().run_async(output_names, input_feed, callback, user_data, run_options)
            return
        self._validate_input(list(input_feed.keys()))

        def work() -> None:
            try:
                results = self.run(output_names, input_feed, run_options)
            except Exception as error:  # noqa: BLE001 - the callback is told instead
                callback([], user_data, str(error))
            else:
                callback(results, user_data, "")

        _async_threads(os.getpid()).submit(work)

    def run_with_ort_values(
        self, output_names: Any, input_dict_ort_values: Mapping[str, Any], run_options: Any = None
    ) -> list[Any]:
        if self._runner is None:
            return super().run_with_ort_values(  # type: ignore[no-any-return]
                output_names, input_dict_ort_values, run_options
            )
        feeds = {name: from_ort_value(value) for name, value in input_dict_ort_values.items()}
        results = self.run(output_names, feeds, run_options)
        specs = {spec.name: spec for spec in self._runner.outputs}
        names = list(output_names or specs)
        return [
            to_ort_value(value, specs[name]) for name, value in zip(names, results, strict=True)
        ]

    def run_with_ortvaluevector(
        self,
        run_options: Any,
        feed_names: Any,
        feeds: Any,
        fetch_names: Any,
        fetches: Any,
        fetch_devices: Any,
    ) -> None:
        if self._runner is None:
            super().run_with_ortvaluevector(
                run_options, feed_names, feeds, fetch_names, fetches, fetch_devices
            )
            return
        given = {name: real.OrtValue(value) for name, value in zip(feed_names, feeds, strict=True)}
        for value in self.run_with_ort_values(fetch_names, given, run_options):
            fetches.push_back(value._get_c_value())  # noqa: SLF001 - as ORT's own code does

    def io_binding(self) -> Any:
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: Any, run_options: Any = None) -> None:
        if isinstance(iobinding, IOBinding):
            iobinding.run(run_options)
        elif self._runner is None:
            super().run_with_iobinding(iobinding, run_options)
        else:
            raise python_error(
                ValueError, "IOBinding must be used with the session that created it."
            )

    def get_overridable_initializers(self) -> list[Any]:
        if self._runner is None:
            return super().get_overridable_initializers()  # type: ignore[no-any-return]
        if not hasattr(self, "_overridable"):
            self._overridable = _overridable(self._arguments[0])
        return self._overridable

    def set_providers(self, providers: Any = None, provider_options: Any = None) -> None:
        """On an accelerator its own device decides; a local session is made anew."""
        if self._runner is None:
            super().set_providers(providers, provider_options)
        else:
            _check_providers(providers, provider_options)

    def end_profiling(self) -> str:
        return "" if self._runner is not None else super().end_profiling()

    def get_profiling_start_time_ns(self) -> Any:
        return 0 if self._runner is not None else super().get_profiling_start_time_ns()

    def get_provider_graph_assignment_info(self) -> Any:
        if self._runner is not None:
            return []
        return super().get_provider_graph_assignment_info()

    def create_ortvalue_from_shape_and_type(
        self, shape: Any, element_type: Any, device_type: str, *arguments: Any, **keywords: Any
    ) -> Any:
        if self._runner is not None:
            return real.OrtValue.ortvalue_from_shape_and_type(shape, element_type, device_type)
        return super().create_ortvalue_from_shape_and_type(
            shape, element_type, device_type, *arguments, **keywords
        )

    def release_captured_graph(self, graph_annotation_id: int = 0) -> None:
        if self._runner is None:
            super().release_captured_graph(graph_annotation_id)

    def set_ep_dynamic_options(self, options: dict[str, str]) -> None:
        if self._runner is None:
            super().set_ep_dynamic_options(options)

    def get_tuning_results(self) -> Any:
        return [] if self._runner is not None else super().get_tuning_results()

    def set_tuning_results(self, results: Any, *, error_on_invalid: bool = False) -> Any:
        if self._runner is None:
            return super().set_tuning_results(results, error_on_invalid=error_on_invalid)
        return None


def _is_model_source(source: Any) -> bool:
    """Whether there is a model to upload; if not, ONNX Runtime refuses it in its own words."""
    if isinstance(source, bytes):
        return bool(source)
    if not isinstance(source, str | os.PathLike) or not os.fspath(source):
        return False
    return Path(source).is_file()


def _check_providers(providers: Any, provider_options: Any) -> None:
    """Refuse what ONNX Runtime refuses; which provider runs is the accelerator's affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        real.collection.check_and_normalize_provider_args(
            providers, provider_options, real.state.get_all_providers()
        )


def _check_run_options(run_options: Any) -> None:
    if not isinstance(run_options, real.RunOptions):
        raise python_error(
            TypeError, f"run(): run_options must be onnxruntime.RunOptions, not {run_options!r}."
        )
    if run_options.terminate:
        raise status_error("FAIL", "Exiting due to terminate flag being set to true.")


def _overridable(source: Any) -> list[NodeArg]:
    from elastic_inference.frameworks.onnxruntime.partitioned import (  # noqa: PLC0415
        overridable_initializers,  # needs onnx, which most sessions never load
    )

    with contextlib.suppress(ModelFormatError):
        return [node_arg(spec) for spec in overridable_initializers(source)]
    return []


def _cpu_memory() -> Any:
    state = real.state
    return state.OrtMemoryInfo(
        "Cpu", state.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, state.OrtMemType.DEFAULT
    )


def _warn_local(reason: str) -> None:
    warnings.warn(
        f"This session runs on the local ONNX Runtime, not on the accelerator: {reason}.",
        RuntimeWarning,
        stacklevel=4,
    )


@lru_cache(maxsize=1)
def _async_threads(_pid: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child makes its own."""
    return ThreadPoolExecutor(_ASYNC_THREADS, thread_name_prefix="ei-run-async")


__all__ = ["InferenceSession"]
