"""What `ei run` adds to an application's interpreter: frameworks with the accelerator in them.

Loaded by `elastic_inference_run.pth` only where `EI_RUN=1`. It waits for the application to
import a framework, lets the import machinery find and run the real module as always, and
then hands that module to the adapter. Whatever goes wrong, the application goes on with the
module as it was. The original's own packages, where nobody else has them, are ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

_ADAPTERS = {
    "onnxruntime": "elastic_inference.frameworks.onnxruntime",
    "tensorflow": "elastic_inference.frameworks.tensorflow.shims",
}
# The original's packages, and what fills a package with their modules.
_ORIGINALS = {
    "ei_for_tf": "elastic_inference.frameworks.tensorflow.shims",
    "mxnet": "elastic_inference.frameworks.mxnet.package",
}


class FrameworkFinder:
    """A meta-path finder that finds nothing itself: it follows up what the others find.

    Attributes:
        framework: the name of the module that it waits for.
    """

    def __init__(self, framework: str) -> None:
        self.framework = framework
        self._searching = False

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name != self.framework or self._searching:
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


class OriginalFinder:
    """A meta-path finder of the original's packages, asked when all others have found nothing."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the import system's order
        target: ModuleType | None = None,  # noqa: ARG002 - the same
    ) -> ModuleSpec | None:
        if name not in _ORIGINALS:
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # it loads, too

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 - an ordinary module will do
        return

    def exec_module(self, module: ModuleType) -> None:
        import_module(_ORIGINALS[module.__name__]).fill(module)


def activate() -> None:
    """Put the finders on the meta path.

    A user who hides the accelerators gets the frameworks as they are. What has the original's
    names is there all the same, since a program that imports it cannot do without: it runs
    locally then.
    """
    if any(isinstance(finder, OriginalFinder) for finder in sys.meta_path):
        return
    hidden = os.environ.get("EI_VISIBLE_DEVICES") == ""
    for framework in _ADAPTERS:
        if not (hidden and framework == "onnxruntime"):
            sys.meta_path.insert(0, FrameworkFinder(framework))
    sys.meta_path.append(OriginalFinder())


activate()
