"""The arguments of a predictor, in the many ways in which programs write them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from elastic_inference.errors import ModelFormatError, NotFoundError
from elastic_inference.frameworks.tensorflow.failures import (
    no_file,
    no_saved_model,
    no_signature,
    no_tags,
    refused,
    translate,
)
from elastic_inference.frameworks.tensorflow.signatures import (
    SAVED_MODEL,
    read_signature,
    read_signatures,
)
from elastic_inference.frameworks.tensorflow.source import DEFAULT_SIGNATURE, SERVE, Source

SAVED_MODEL_TEXT = "saved_model.pbtxt"
# Where TensorFlow 1's Estimators put their default signature.
_ALTERNATIVE = "default_input_alternative:{}"
_DEFAULT = "Using DEFAULT_SERVING_SIGNATURE_DEF_KEY ....."

PathLike: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Names: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a predictor is asked to run, as it was said; at most one of the last four lines'.

    Attributes:
        key: of a signature in the model.
        definition: a SignatureDef.
        inputs, outputs: names of tensors by key.
    """

    key: str | None
    definition: Any
    inputs: Names | None
    outputs: Names | None

    @property
    def is_default(self) -> bool:
        """Whether nothing was said: then it is the default signature of the model."""
        return self.key is None and self.definition is None and self.inputs is None

    def names(self) -> tuple[dict[str, str], dict[str, str]] | None:
        """The tensor names by key, where they were given; None where a key names them."""
        if self.definition is not None:
            return _of_definition(self.definition)
        if self.inputs is not None and self.outputs is not None:
            return _tensor_names(self.inputs), _tensor_names(self.outputs)
        return None


def choose(
    key: str | Names | None,
    definition: Any,
    inputs: Names | None,
    outputs: Names | None,
) -> Chosen:
    """Sort out the four arguments; names in the places of the first two are names.

    Raises:
        ElasticInferenceError: a ValueError too: they contradict each other.
    """
    if isinstance(key, Mapping):
        if inputs is not None:
            raise refused("The input names are given twice.")
        key, inputs = None, key
        if isinstance(definition, Mapping):
            if outputs is not None:
                raise refused("The output names are given twice.")
            definition, outputs = None, definition
    if (inputs is None) != (outputs is None):
        raise refused(
            "input_names and output_names must both be specified or both be unspecified.",
            next_step='Give both, as {"inputs": "image_tensor:0"}.',
        )
    if (key is not None) + (definition is not None) + (inputs is not None) > 1:
        raise refused(
            "You must specify at most one of signature_def_key OR signature_def OR "
            "(input_names AND output_names)."
        )
    return Chosen(key, definition, inputs, outputs)


def tag_set(tags: str | Sequence[str] | None) -> tuple[str, ...]:
    """The tags in `serve`, `a,b` or a sequence."""
    if tags is None:
        return (SERVE,)
    if isinstance(tags, str):
        tags = tags.split(",")
    return tuple(str(tag).strip() for tag in tags if str(tag).strip())


def find_model(path: PathLike) -> Path:
    """The folder of the SavedModel, or the file of the frozen graph, that `path` names.

    A folder with none in it may be one into which an Estimator exports: then it is the newest
    of the exports there.

    Raises:
        ElasticInferenceError: an OSError too: there is none.
    """
    found = Path(os.fsdecode(path))
    if found.is_file():
        return found.parent if found.name in {SAVED_MODEL, SAVED_MODEL_TEXT} else found
    if not found.is_dir():
        raise no_file(found) if found.suffix in {".pb", ".pbtxt"} else no_saved_model(found)
    if _holds_model(found):
        return found
    exports = [each for each in found.iterdir() if each.name.isdecimal() and _holds_model(each)]
    if not exports:
        raise no_saved_model(found)
    return max(exports, key=lambda each: int(each.name))


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (SAVED_MODEL, SAVED_MODEL_TEXT))


def source_of(path: Path, tags: tuple[str, ...], chosen: Chosen) -> Source:
    """What is to be prepared.

    Raises:
        ElasticInferenceError: an OSError, RuntimeError or ValueError too, as TensorFlow's
            Predictor raises: the model, the tags or the signature are not there.
    """
    names = chosen.names()
    if path.is_file():
        if names is None:
            raise refused(
                f"{path} is a frozen graph, which has no signatures.",
                next_step='Give input_names and output_names, as {"inputs": "image_tensor:0"}.',
            )
        return Source(path, tags, "", *names)
    if not (path / SAVED_MODEL).is_file():
        raise translate(
            ModelFormatError(
                f"{path} holds a SavedModel in text form.",
                next_step="Save it in binary form, or set use_ei=False.",
            ),
            OSError,
        )
    if names is not None:
        return Source(path, tags, "", *names)
    if chosen.is_default:
        say_default()
    return Source(path, tags, _known_key(path, tags, chosen.key))


def say_default() -> None:
    """Say, as the original did, which signature is taken where none was named."""
    print(_DEFAULT, flush=True)  # noqa: T201 - programs' output is compared with the original's


def _known_key(path: Path, tags: tuple[str, ...], wanted: str | None) -> str:
    try:
        signatures = read_signatures(path, tags)
    except NotFoundError as error:
        raise no_tags(tags, error.message) from error
    except ModelFormatError as error:
        raise translate(error, OSError) from error
    return pick(wanted, tuple(signatures))


def pick(wanted: str | None, known: Sequence[str]) -> str:
    """The key of the signature meant by `wanted`.

    Raises:
        ElasticInferenceError: a ValueError too: none is.
    """
    key = wanted or DEFAULT_SIGNATURE
    for each in (key, _ALTERNATIVE.format(key)):
        if each in known:
            return each
    raise no_signature(key, known)


def _tensor_names(names: Names) -> dict[str, str]:
    """By key; a value may be a tensor, and `x` means `x:0`."""
    found = {}
    for key, value in names.items():
        name = str(getattr(value, "name", value))
        found[str(key)] = name if ":" in name else f"{name}:0"
    return found


def _of_definition(definition: Any) -> tuple[dict[str, str], dict[str, str]]:
    raw = definition if isinstance(definition, bytes) else definition.SerializeToString()
    signature = read_signature(raw)
    inputs = {key: tensor.name for key, tensor in signature.inputs.items()}
    outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
    return inputs, outputs
