"""`explain`: which parts of a model run where, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elastic_inference.errors import ElasticInferenceError
from elastic_inference.frameworks.tensorflow.arguments import (
    Names,
    choose,
    find_model,
    source_of,
    tag_set,
)
from elastic_inference.frameworks.tensorflow.failures import translate
from elastic_inference.frameworks.tensorflow.prepare import prepare


def explain(
    model: Any,
    signature_def_key: str | Names | None = None,
    signature_def: Any = None,
    input_names: Names | None = None,
    output_names: Names | None = None,
    tags: str | Sequence[str] | None = None,
) -> str:
    """Which parts of a model run where, why, and how much crosses, as a text.

    Args:
        model: what `EIPredictor` takes as model_dir, or an `EIPredictor`, an `EIKerasModel` or
            what `accelerate` gave; no accelerator is needed.
        signature_def_key, signature_def, input_names, output_names, tags: as there.

    Raises:
        ElasticInferenceError: as an EIPredictor raises.
    """
    own = getattr(model, "explain", None)
    if own is not None:
        return str(own())
    from elastic_inference.frameworks.tensorflow import (  # noqa: PLC0415 - it has this one's name
        explain as texts,
    )

    chosen = choose(signature_def_key, signature_def, input_names, output_names)
    source = source_of(find_model(model), tag_set(tags), chosen)
    try:
        (plan,) = prepare([source])
    except ElasticInferenceError as error:
        raise translate(error) from error
    text: str = texts.explain(plan)
    return text
