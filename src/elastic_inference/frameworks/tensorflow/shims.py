"""Names that programs of the original, and of TensorFlow 1's time, import and use.

What TensorFlow 2 has stays as it is. What it has no more is there again, as it lies in
`tf.compat.v1`; executing eagerly stays the default, so that graphs are built within
`tf.Graph().as_default()`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

# Where the original's packages have these: for TensorFlow 1 below `tensorflow.contrib.ei`, later
# below `ei_for_tf`.
_ORIGINAL = {
    "python.predictor.ei_predictor": ("EIPredictor",),
    "python.keras.ei_keras": ("EIKerasModel",),
}
_FROM_V1 = (
    "AUTO_REUSE",
    "ConfigProto",
    "FixedLenFeature",
    "GPUOptions",
    "GraphDef",
    "GraphKeys",
    "GraphOptions",
    "InteractiveSession",
    "MetaGraphDef",
    "NodeDef",
    "OptimizerOptions",
    "RunMetadata",
    "RunOptions",
    "Session",
    "VarLenFeature",
    "app",
    "decode_raw",
    "flags",
    "get_collection",
    "get_default_graph",
    "get_default_session",
    "get_variable",
    "gfile",
    "global_variables",
    "global_variables_initializer",
    "initialize_all_variables",
    "local_variables_initializer",
    "logging",
    "parse_example",
    "parse_single_example",
    "placeholder",
    "placeholder_with_default",
    "py_func",
    "python_io",
    "read_file",
    "reset_default_graph",
    "set_random_seed",
    "tables_initializer",
    "variable_scope",
    "variables_initializer",
)
_UTIL = ("MakeNdarray", "make_ndarray", "make_tensor_proto")


def install(tensorflow: ModuleType) -> None:
    """Give the imported TensorFlow the names that it lacks. Doing it twice is doing it once."""
    v1 = tensorflow.compat.v1
    for name in _FROM_V1:
        _add(tensorflow, name, getattr(v1, name, None))
    if hasattr(tensorflow, "contrib"):
        return
    contrib = _module("tensorflow.contrib")
    _add_child(tensorflow, contrib)
    util = _module("tensorflow.contrib.util")
    _add_child(contrib, util)
    for name in _UTIL:
        _add(util, name, getattr(v1, name, None))
    predictor = _module("tensorflow.contrib.predictor")
    _add_child(contrib, predictor)
    predictor.from_saved_model = _from_saved_model  # type: ignore[attr-defined]  # it is ours
    original = _module("tensorflow.contrib.ei")
    _add_child(contrib, original)
    fill(original)


def fill(package: ModuleType) -> None:
    """Give the original's `package` its modules, which load what they stand for on first use."""
    for path, names in _ORIGINAL.items():
        parent = package
        for part in path.split("."):
            name = f"{parent.__name__}.{part}"
            child = sys.modules.get(name) or _module(name)
            _add_child(parent, child)
            parent = child
        _forward(parent, names)
    _forward(package, tuple(name for names in _ORIGINAL.values() for name in names))


def _forward(module: ModuleType, names: tuple[str, ...]) -> None:
    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        from elastic_inference import tensorflow  # noqa: PLC0415 - numpy loads on first use

        return getattr(tensorflow, name)

    module.__getattr__ = find  # type: ignore[method-assign]  # how a module says so: PEP 562


def _module(name: str) -> ModuleType:
    module = ModuleType(name, "What programs of TensorFlow 1's time find here.")
    # With a path it is a package, whose modules the import system asks for.
    module.__path__ = []
    return module


def _add_child(parent: ModuleType, child: ModuleType) -> None:
    sys.modules[child.__name__] = child
    setattr(parent, child.__name__.rpartition(".")[2], child)


def _add(owner: ModuleType, name: str, value: Any) -> None:
    if value is not None and not hasattr(owner, name):
        setattr(owner, name, value)


def _from_saved_model(
    export_dir: Any,
    signature_def_key: str | None = None,
    signature_def: Any = None,
    input_names: Any = None,
    output_names: Any = None,
    tags: str | None = None,
    graph: Any = None,
    config: Any = None,
) -> Any:
    """`tf.contrib.predictor.from_saved_model`: this process's own TensorFlow runs the model."""
    from elastic_inference.tensorflow import EIPredictor  # noqa: PLC0415 - it loads numpy

    return EIPredictor(
        export_dir,
        signature_def_key,
        signature_def,
        input_names,
        output_names,
        tags,
        graph,
        config,
        use_ei=False,
    )
