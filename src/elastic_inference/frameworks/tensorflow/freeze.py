"""Models from disk as one graph with its weights in it and its functions inlined.

TensorFlow 1's loader reads both kinds of SavedModel. Where what it gives cannot be frozen, the
signature is loaded as TensorFlow 2's function; where that fails too, variables stay variables and
are set when the graph is loaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from elastic_inference.errors import ElasticInferenceError, ModelFormatError, NotFoundError
from elastic_inference.frameworks.tensorflow.assets import find_assets, name_assets
from elastic_inference.frameworks.tensorflow.frozen import (
    Frozen,
    inline,
    tensor_name,
    tensors_named,
)
from elastic_inference.frameworks.tensorflow.graphfile import load_file
from elastic_inference.frameworks.tensorflow.local import import_tensorflow
from elastic_inference.frameworks.tensorflow.signatures import INIT_OP, read_signatures
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.frameworks.tensorflow.variables import (
    keep_variables,
    reached,
    read_constants,
    written_variables,
)
from elastic_inference.protocol.tensorflow import node_of, reason_of

_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
_READS = frozenset(["ReadVariableOp", "ResourceGather", "ResourceGatherNd"])


def load(source: Source) -> Frozen:
    """The frozen graph of what `source` names.

    Raises:
        ModelFormatError: TensorFlow cannot load the model; the message has its reason.
        NotFoundError: a name of `source` is not in the model.
    """
    tf = import_tensorflow()
    if source.is_frozen:
        return load_file(tf, source)
    try:
        return _load_saved_model(tf, source)
    except ElasticInferenceError:
        raise
    # TensorFlow raises many types for models that it cannot load.
    except Exception as error:
        with contextlib.suppress(Exception):
            return _load_function(tf, source)
        raise ModelFormatError(
            f"TensorFlow cannot load the model in {source.path}: {reason_of(error)}"
        ) from error


def _load_saved_model(tf: Any, source: Source) -> Frozen:
    with _opened(tf, source) as (session, found):
        writes = written_variables(found.definition, found.ends)
        if not writes:
            with contextlib.suppress(*_failures(tf)):
                return inline(tf, _constant(tf, session, found))
            # Some loops are frozen well only where they are in no function.
            with contextlib.suppress(*_failures(tf)):
                return _constant(tf, session, inline(tf, found))
    if not writes:
        with contextlib.suppress(*_failures(tf)):
            return inline(tf, _freeze_function(tf, source, found.method))
    with _opened(tf, source) as (session, found):
        return keep_variables(tf, session, found)


@contextlib.contextmanager
def _opened(tf: Any, source: Source) -> Iterator[tuple[Any, Frozen]]:
    """A session with the model's variables, and its graph as it was saved."""
    graph = tf.Graph()
    v1 = tf.compat.v1
    with graph.as_default(), v1.Session(graph=graph) as session:
        meta = v1.saved_model.load(session, list(source.tags), str(source.path))
        inputs, outputs, method = _interface(graph, meta, source)
        definition = graph.as_graph_def(add_shapes=True)
        assets = find_assets(meta, source.path)
        name_assets(definition, assets)
        yield session, Frozen(definition, inputs, outputs, method, _initializer(meta), assets)


def _load_function(tf: Any, source: Source) -> Frozen:
    """What TensorFlow 1's loader cannot restore, by TensorFlow 2's.

    Raises:
        ValueError: tensors are named, which only the other one finds.
        Exception: whatever TensorFlow raises.
    """
    if not source.signature or source.inputs or source.outputs:
        raise ValueError("tensors are named")
    signature = read_signatures(source.path, source.tags)[source.signature]
    return _freeze_function(tf, source, signature.method)


def _failures(tf: Any) -> tuple[type[Exception], ...]:
    """What TensorFlow raises where a graph cannot be frozen."""
    return (
        tf.errors.OpError, ValueError, KeyError, TypeError, AttributeError, IndexError,
        RuntimeError, AssertionError,
    )  # fmt: skip


def _constant(tf: Any, session: Any, frozen: Frozen) -> Frozen:
    """The graph with constants for variables.

    Raises:
        ValueError: something in it still reads a variable.
    """
    made = tf.compat.v1.graph_util.convert_variables_to_constants(
        session, frozen.definition, list(frozen.ends)
    )
    read_constants(made)
    for node in reached(made, frozen.ends):
        if node.op in _READS:
            raise ValueError(f"{node.name} reads a variable")
    return frozen.with_definition(made)


def _interface(graph: Any, meta: Any, source: Source) -> tuple[dict[str, str], dict[str, str], str]:
    """The tensors that go in and out, by key, and the signature's method."""
    inputs, outputs, method = dict(source.inputs), dict(source.outputs), ""
    if source.signature and not (inputs and outputs):
        known = {key: each for key, each in meta.signature_def.items() if key != INIT_OP}
        if source.signature not in known:
            raise NotFoundError(
                f"The model in {source.path} has no signature {source.signature!r}.",
                next_step=f"It has: {', '.join(sorted(known)) or 'none'}.",
            )
        signature = known[source.signature]
        method = signature.method_name
        inputs = inputs or _dense(signature.inputs)
        outputs = outputs or _dense(signature.outputs)
    return tensors_named(graph, inputs), tensors_named(graph, outputs), method


def _dense(tensors: Mapping[str, Any]) -> dict[str, str]:
    for key, info in tensors.items():
        if info.WhichOneof("encoding") != "name":
            raise ModelFormatError(
                f"{key!r} of the signature is no dense tensor, and none else can be passed.",
                next_step="Name its tensors in place of the signature.",
            )
    return {key: tensor_name(tensors[key].name) for key in sorted(tensors)}


def _initializer(meta: Any) -> str:
    """The operation that fills tables and the like, or ""."""
    if INIT_OP in meta.signature_def:
        infos = list(meta.signature_def[INIT_OP].outputs.values())
        if infos:
            return node_of(infos[0].name)
    for key in _INIT_COLLECTIONS:
        if key in meta.collection_def and meta.collection_def[key].node_list.value:
            return node_of(meta.collection_def[key].node_list.value[0])
    return ""


def _freeze_function(tf: Any, source: Source, method: str) -> Frozen:
    """The signature as TensorFlow 2 has it; tables cannot be frozen this way."""
    from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415 - with TensorFlow
        convert_variables_to_constants_v2,
    )

    loaded = tf.saved_model.load(str(source.path), tags=list(source.tags))
    function = loaded.signatures[source.signature]
    frozen = convert_variables_to_constants_v2(
        function, lower_control_flow=False, aggressive_inlining=True
    )
    if any(tensor.dtype in (tf.resource, tf.variant) for tensor in frozen.inputs):
        raise ValueError("a resource is captured")
    keys = sorted(function.structured_input_signature[1])
    named = {node_of(tensor.name): tensor.name for tensor in frozen.inputs}
    inputs = {key: named[key] for key in keys}
    names = [tensor.name for tensor in frozen.outputs]
    outputs = dict(zip(sorted(function.structured_outputs), names, strict=True))
    definition = frozen.graph.as_graph_def(add_shapes=True)
    read_constants(definition)
    return Frozen(definition, inputs, outputs, method)
