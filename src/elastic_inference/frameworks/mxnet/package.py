"""The package that scripts import as `mxnet`, and anybody as `elastic_inference.mxnet`."""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from types import ModuleType

from elastic_inference.frameworks.mxnet.namespaces import ndarray_module, symbol_module

# The version of MXNet whose files and interface these are.
VERSION = "1.9.1"
_HERE = "elastic_inference.frameworks.mxnet"
# Names in the package, and the module here that each one is.
_MODULES = {
    "attribute": "names",
    "autograd": "autograd",
    "base": "base",
    "context": "context",
    "contrib": "contrib",
    "contrib.onnx": "contrib_onnx",
    "contrib.onnx.onnx2mx": "contrib_onnx",
    "contrib.onnx.onnx2mx.import_model": "contrib_onnx",
    "error": "base",
    "executor": "executor",
    "gluon": "gluon",
    "gluon.block": "gluon",
    "gluon.data": "gluon_data",
    "gluon.data.vision": "gluon_data",
    "gluon.data.vision.transforms": "transforms",
    "gluon.nn": "gluon",
    "gluon.parameter": "gluon_parameters",
    "gluon.utils": "gluon_utils",
    "image": "image",
    "img": "image",
    "init": "initializer",
    "initializer": "initializer",
    "io": "io",
    "io.io": "io",
    "metric": "metric",
    "mod": "module",
    "model": "model",
    "module": "module",
    "module.base_module": "base_module",
    "module.bucketing_module": "bucketing_module",
    "module.module": "module",
    "name": "names",
    "random": "random",
    "rnd": "random",
    "runtime": "runtime",
    "test_utils": "test_utils",
}
_CONTEXT = (
    "Context", "cpu", "cpu_pinned", "current_context", "eia", "gpu", "gpu_memory_info", "num_gpus",
)  # fmt: skip


def fill(package: ModuleType) -> None:
    """Put all of MXNet's interface into `package`, and its modules beside it for imports."""
    package.__dict__["__path__"] = []
    package.__dict__["__version__"] = VERSION
    for name, module in _all().items():
        sys.modules[f"{package.__name__}.{name}"] = module
        if "." not in name:
            setattr(package, name, module)
    context = _all()["context"]
    for name in _CONTEXT:
        setattr(package, name, getattr(context, name))
    names, base = _all()["name"], _all()["base"]
    package.__dict__["AttrScope"] = names.AttrScope
    package.__dict__["NameManager"] = names.NameManager
    package.__dict__["MXNetError"] = base.MXNetError
    package.__dict__["waitall"] = _all()["nd"].waitall


@lru_cache(maxsize=1)
def _all() -> dict[str, ModuleType]:
    """All modules of the package, by their names in it; those inside others are in them, too."""
    found = {name: importlib.import_module(f"{_HERE}.{each}") for name, each in _MODULES.items()}
    arrays = ndarray_module("mxnet.ndarray")
    symbols = symbol_module("mxnet.symbol")
    arrays.__dict__["ndarray"] = importlib.import_module(f"{_HERE}.ndarray")
    symbols.__dict__["symbol"] = importlib.import_module(f"{_HERE}.symbol")
    for outer, names in ((arrays, ("ndarray", "nd")), (symbols, ("symbol", "sym"))):
        inside = {key: each for key, each in vars(outer).items() if isinstance(each, ModuleType)}
        for name in names:
            found[name] = outer
            found |= {f"{name}.{key}": each for key, each in inside.items()}
    for name, module in found.items():
        outer_name, _, own = name.rpartition(".")
        # What a module has by that name already, as `module.module.Module`, stays.
        if outer_name and not hasattr(found[outer_name], own):
            setattr(found[outer_name], own, module)
    return found
