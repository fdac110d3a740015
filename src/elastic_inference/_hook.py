"""What `ei run` adds to an application's interpreter: ONNX Runtime with the accelerator in it.

Loaded by `elastic_inference_run.pth` only where `EI_RUN=1`. It waits for the application to
import `onnxruntime`, lets the import machinery find and run the real module as always, and
then hands that module to the adapter. Whatever goes wrong, the application goes on with the
module as it was.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

_ADAPTERS = {"onnxruntime": "elastic_inference.frameworks.onnxruntime"}


class FrameworkFinder:
    """A meta-path finder that finds nothing itself: it follows up what the others find."""

    def __init__(self) -> None:
        self._searching = False

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name not in _ADAPTERS or self._searching:
            return None
        self._searching = True
        try:
            spec = _find(name, path, target, self)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            _follow_up(spec, self)
        return spec


def _find(
    name: str, path: Sequence[str] | None, target: ModuleType | None, but: FrameworkFinder
) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        find_spec = getattr(finder, "find_spec", None)
        if finder is but or find_spec is None:
            continue
        spec: ModuleSpec | None = find_spec(name, path, target)
        if spec is not None:
            return spec
    return None


def _follow_up(spec: ModuleSpec, finder: FrameworkFinder) -> None:
    """Make the loader of this one spec hand its module to the adapter, once."""
    loader = spec.loader
    run = getattr(loader, "exec_module", None)
    if run is None:
        return

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module  # type: ignore[union-attr]  # the attribute set below
        run(module)
        _remove(finder)
        _install(spec.name, module)

    try:
        loader.exec_module = exec_module  # type: ignore[method-assign,union-attr]  # this object's
    except AttributeError:
        _warn(spec.name, f"its loader {type(loader).__name__} cannot be followed")


def _install(name: str, module: ModuleType) -> None:
    try:
        import_module(_ADAPTERS[name]).install(module)
    except Exception as error:  # noqa: BLE001 - the application must run as it would without us
        _warn(name, f"{type(error).__name__}: {error}")


def _warn(name: str, why: str) -> None:
    sys.stderr.write(f"elastic-inference: {name} runs without an accelerator: {why}\n")


def _remove(finder: FrameworkFinder) -> None:
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)


def activate() -> None:
    """Put the finder first on the meta path, unless the user hides the accelerators."""
    if os.environ.get("EI_VISIBLE_DEVICES") == "":
        return
    if not any(isinstance(finder, FrameworkFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, FrameworkFinder())


activate()
