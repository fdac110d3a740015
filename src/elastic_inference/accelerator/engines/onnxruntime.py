"""ONNX Runtime as an engine.

Every session of the process shares one arena, so that models which run in turns do not each
keep their own peak, and one shrinkage gives all of it back. A model with weights is prepared
once: optimised, its weights laid out for this processor and mapped from a file afterwards.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as native

from elastic_inference.accelerator import onnxfile
from elastic_inference.accelerator.devices import providers_for
from elastic_inference.accelerator.engines import _errors, _prepared
from elastic_inference.accelerator.engines._model import (
    Deferred,
    OnnxRuntimeModel,
    describe_session,
)
from elastic_inference.accelerator.engines._options import check_options, session_options
from elastic_inference.accelerator.engines._profile import ProfiledModel
from elastic_inference.accelerator.engines._stack import on_large_stack
from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.accelerator.heap import recycling, release_free
from elastic_inference.errors import InternalError, ModelFormatError

M = TypeVar("M", bound=OnnxRuntimeModel)

# Below this a model is loaded as it is: preparing it would cost more than it saves.
PREPARE_LEAST = 64 * 1024
# From this size on a prepared model is loaded again from its files, to give back the copy of
# the weights that preparing took.
RELOAD_LEAST = 1024 * 1024
# From this size on a first load may be answered before the model is prepared.
DEFER_LEAST = 8 * 1024 * 1024
# Preparing gives way to inference, but not so far that a lock which it holds is not let go.
_PREPARING_NICE = 10
# Small tensors stay in the prepared graph: most of those whose odd sizes would leave what comes
# after them in the file unaligned are biases.
_EXTERNAL_LEAST = str(32 * 1024)
_SKELETON, _DETACHED = "skeleton.onnx", "skeleton.bin"
_SMALL = np.array([[1, 2], [3, 4]], np.float32)
_SMALL_SQUARE = np.array([[7, 10], [15, 22]], np.float32)
_DOMAINS = (
    "", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training",
    "com.microsoft", "com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc",
    "org.pytorch.aten",
)  # fmt: skip


class OnnxRuntimeEngine:
    """See `engines.base.Engine`.

    Args:
        device: `cpu` or `cuda:N`.
        memory_bytes: what activations may take at most, over all models.
        threads: the slice's threads; a model may ask for fewer.
    """

    name = "onnxruntime"

    def __init__(self, device: str = "cpu", memory_bytes: int = 0, threads: int = 1) -> None:
        ort.set_default_logger_severity(4)
        self.version: str = ort.__version__
        self.device = device
        self.threads = threads
        self._memory_bytes = memory_bytes
        if device != "cpu":
            with suppress(Exception):  # the provider's own error follows, and says more
                ort.preload_dlls()
        self._providers = providers_for(device, memory_bytes, ort.get_available_providers())
        self.providers: tuple[str, ...] = tuple(name for name, _ in self._providers)
        if device == "cpu":
            _share_arena(memory_bytes)
        self._shrinker: Any = None
        self._shrinking = Lock()
        self._checker: Any = None
        self._checking = Lock()

    @cached_property
    def domains(self) -> Mapping[str, int]:
        found = {}
        for domain in _DOMAINS:
            newest = _newest_opset(domain)
            if newest:
                found[domain] = newest
        return found

    def prepares(self, _main: str, size: int) -> bool:
        return self.device == "cpu" and size >= PREPARE_LEAST

    def libraries(self, _main: str) -> tuple[int, int]:
        return 0, 0

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever a prepared model of before would not be this machine's own."""
        text = json.dumps(["1", self.version, ort.get_build_info(), _processor(), self.providers])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def load(
        self, files: ModelFiles, options: LoadOptions, *, defer: bool = False
    ) -> OnnxRuntimeModel:
        return self._checked(
            files,
            options,
            lambda path, info: self._load(files, path, info, options, defer=defer),
        )

    def load_profiled(
        self, files: ModelFiles, options: LoadOptions, directory: Path
    ) -> ProfiledModel:
        settings = self._options(options)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(directory / f".profile-{secrets.token_hex(8)}")

        def load(path: Path, info: onnxfile.OnnxInfo) -> ProfiledModel:
            session = self._session(path, settings)
            return ProfiledModel(session, describe_session(session, info), "direct")

        return self._checked(files, options, load)

    def _checked(
        self,
        files: ModelFiles,
        options: LoadOptions,
        load: Callable[[Path, onnxfile.OnnxInfo], M],
    ) -> M:
        """What `load` makes of the model's path, after all that could be wrong was looked at."""
        check_options(options, self.threads)
        path = files.directory / files.main
        if path.suffix == ".ort":
            raise ModelFormatError(
                "Models in ONNX Runtime's own format are not taken.",
                next_step="Load the .onnx file that it was made from.",
            )
        home = path.parent
        names = [str(file.relative_to(home)) for file in home.rglob("*") if file.is_file()]
        info = onnxfile.inspect(path, names)
        try:
            with recycling():
                return on_large_stack(lambda: load(path, info))
        except Exception as error:
            # ONNX Runtime's exceptions have no common base but Exception.
            raise _errors.load_error(error, str(home)) from error

    def check(self) -> None:
        try:
            with self._checking:
                if self._checker is None:
                    self._checker = on_large_stack(self._check_session)
            (result,) = self._checker.run(["y"], {"x": _SMALL})
        except Exception as error:
            raise _errors.run_error(error) from error
        if not np.array_equal(result, _SMALL_SQUARE):
            raise InternalError(f"The engine computes wrongly: {result.tolist()}.")

    def trim(self) -> None:
        if self.device == "cpu":
            self._shrink_arena()
        elif self._checker is None:
            # On a GPU each session has an arena of its own; but what a first session there sets
            # up (context, libraries) then belongs to the baseline, not to the first model.
            self.check()
        release_free()

    def _load(
        self,
        files: ModelFiles,
        path: Path,
        info: onnxfile.OnnxInfo,
        options: LoadOptions,
        *,
        defer: bool,
    ) -> OnnxRuntimeModel:
        folder = files.cache
        if folder is None or not self.prepares(files.main, files.size):
            return self._direct(path, info, options)
        prepared = _prepared.find(folder)
        if prepared is not None:
            model = self._from_prepared(prepared, options, "cache")
            if model is not None:
                return model
            _prepared.drop(folder)
        try:
            if defer and files.size >= DEFER_LEAST:
                return self._defer(path, folder, info, options)
            return self._prepare(path, folder, info, options)
        except Exception as error:
            if _errors.is_out_of_memory(error):
                raise
        # The disk is full, or the graph cannot be written; if it is the model that is wrong,
        # loading it directly says so.
        return self._direct(path, info, options)

    def _prepare(
        self, path: Path, folder: Path, info: onnxfile.OnnxInfo, options: LoadOptions
    ) -> OnnxRuntimeModel:
        with _prepared.writing(folder) as temporary:
            source = _detached(path, temporary, info)
            model = self._write(source, temporary, folder, info, options)
        prepared = _worth_loading(folder)
        if prepared is None:
            return model
        model.close()
        self.trim()
        again = self._from_prepared(prepared, options, "prepared")
        return again if again is not None else self._direct(path, info, options)

    def _defer(
        self, path: Path, folder: Path, info: onnxfile.OnnxInfo, options: LoadOptions
    ) -> OnnxRuntimeModel:
        """The model as it was uploaded; its `finish` prepares it."""
        model = self._direct(path, info, options)

        def write() -> None:
            with _prepared.writing(folder) as temporary:
                source = _detached(path, temporary, info)
                self._write(source, temporary, folder, info, options).close()

        def prepare() -> _prepared.Prepared | None:
            if (found := _worth_loading(folder)) is not None:
                return found
            with recycling():
                on_large_stack(write, nice=_PREPARING_NICE)
            self.trim()
            return _worth_loading(folder)

        def load(prepared: _prepared.Prepared) -> ort.InferenceSession | None:
            # At the usual priority: the threads of a session have that of the thread that made it.
            return on_large_stack(lambda: self._session_of(prepared, options))

        model.defer(Deferred(prepare, load))
        return model

    def _write(
        self,
        source: Path,
        temporary: Path,
        folder: Path,
        info: onnxfile.OnnxInfo,
        options: LoadOptions,
    ) -> OnnxRuntimeModel:
        """Keep the prepared form of `source` as `folder`; the model as it is in memory then."""
        settings = self._options(options)
        settings.optimized_model_filepath = str(temporary / _prepared.MODEL)
        add = settings.add_session_config_entry
        add("session.optimized_model_external_initializers_file_name", _prepared.WEIGHTS)
        add("session.optimized_model_external_initializers_min_size_in_bytes", _EXTERNAL_LEAST)
        add("session.save_external_prepacked_constant_initializers", "1")
        session = self._session(source, settings)
        model = OnnxRuntimeModel(session, describe_session(session, info), "prepared")
        for name in (_SKELETON, _DETACHED):
            (temporary / name).unlink(missing_ok=True)
        _prepared.disown_misaligned(temporary / _prepared.MODEL)
        _prepared.keep(temporary, folder, model.interface)
        return model

    def _from_prepared(
        self, prepared: _prepared.Prepared, options: LoadOptions, source: str
    ) -> OnnxRuntimeModel | None:
        session = self._session_of(prepared, options)
        if session is None:
            return None
        return OnnxRuntimeModel(session, prepared.interface, source, prepared)

    def _session_of(
        self, prepared: _prepared.Prepared, options: LoadOptions
    ) -> ort.InferenceSession | None:
        """A session of the prepared model; None, and it is released, where that fails."""
        settings = self._options(options)
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return self._session(prepared.folder / _prepared.MODEL, settings)
        except Exception as error:
            prepared.release()
            if _errors.is_out_of_memory(error):
                raise
            return None

    def _direct(
        self, path: Path, info: onnxfile.OnnxInfo, options: LoadOptions
    ) -> OnnxRuntimeModel:
        session = self._session(path, self._options(options))
        model = OnnxRuntimeModel(session, describe_session(session, info), "direct")
        if info.locations:
            model.mapped_bytes = _mapped_bytes(path.parent)
        return model

    def _options(self, options: LoadOptions) -> ort.SessionOptions:
        return session_options(options, self.threads, shared_arena=self.device == "cpu")

    def _check_session(self) -> ort.InferenceSession:
        # Without an arena on a CPU, so that models which fill theirs do not fail it.
        options = session_options(LoadOptions(), 1, shared_arena=False)
        options.enable_cpu_mem_arena = False
        # Building an engine of TensorRT's for it would take seconds.
        providers = [each for each in self._providers if each[0] != "TensorrtExecutionProvider"]
        return self._session(onnxfile.square_model(), options, providers)

    def _session(
        self,
        source: Path | bytes,
        options: ort.SessionOptions,
        providers: Sequence[tuple[str, Mapping[str, str]]] = (),
    ) -> ort.InferenceSession:
        providers = providers or self._providers
        session = ort.InferenceSession(
            source if isinstance(source, bytes) else str(source),
            options,
            providers=[name for name, _ in providers],
            provider_options=[dict(entries) for _, entries in providers],
            enable_fallback=0,
        )
        missing = {name for name, _ in providers} - set(session.get_providers())
        if missing:
            raise InternalError(
                f"{min(missing)} does not work on this machine.",
                next_step="Check the driver and the libraries of the device.",
            )
        return session

    def _shrink_arena(self) -> None:
        with self._shrinking:
            if self._shrinker is None:
                model = onnxfile.identity_model("", 13)
                self._shrinker = self._session(model, self._options(LoadOptions()))
            run_options = ort.RunOptions()
            run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            self._shrinker.run(["y"], {"x": np.zeros(1, np.float32)}, run_options)


_arena_lock = Lock()
_arena_shared = False


def _share_arena(memory_bytes: int) -> None:
    """Give the process one arena for all sessions; once, since it belongs to the process."""
    global _arena_shared  # noqa: PLW0603 - the arena is the process's
    with _arena_lock:
        if _arena_shared:
            return
        info = native.OrtMemoryInfo(
            "Cpu", native.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, native.OrtMemType.DEFAULT
        )
        same_as_requested = 1
        config = {"max_mem": memory_bytes, "arena_extend_strategy": same_as_requested}
        native.create_and_register_allocator(info, native.OrtArenaCfg(config))
        _arena_shared = True


def _detached(path: Path, temporary: Path, info: onnxfile.OnnxInfo) -> Path:
    """`path`, or a copy of it in `temporary` whose weights lie apart, where that saves memory.

    Weights inside the model cost the engine a second copy of each.
    """
    if info.inline_bytes < onnxfile.DETACH_LEAST or info.locations:
        return path
    skeleton = temporary / _SKELETON
    detached = onnxfile.detach_weights(path, skeleton, temporary / _DETACHED)
    return skeleton if detached else path


def _worth_loading(folder: Path) -> _prepared.Prepared | None:
    """The prepared model in `folder`, if loading it again gives memory back."""
    prepared = _prepared.find(folder)
    if prepared is not None and prepared.weights_bytes < RELOAD_LEAST:
        prepared.release()
        return None
    return prepared


def _mapped_bytes(folder: Path) -> int:
    """Bytes that this process has mapped of the files in `folder`."""
    prefix = f"{folder}/"
    total = 0
    for line in Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines():
        place, *_, name = line.split(maxsplit=5)
        if name.startswith(prefix):
            start, end = place.split("-")
            total += int(end, 16) - int(start, 16)
    return total


def _newest_opset(domain: str) -> int:
    """The newest released operator set of `domain`; the engine tells when asked for more."""
    probe = onnxfile.identity_model(domain, 1 << 20)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(probe, options)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no common base
        match = re.search(r"is till opset (\d+)", str(error))
        return int(match[1]) if match else 0
    return 0


def _processor() -> str:
    """What the layout of prepared weights depends on."""
    wanted = ("vendor_id", "model name", "flags", "CPU implementer", "CPU part", "Features")
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            found.setdefault(key.strip(), value.strip())
    return json.dumps(found, sort_keys=True)
