"""SavedModels without the numbers that TensorFlow counts on in a process.

It numbers the functions that it traces, `__inference_call_57`, and the variables that they take.
What is traced again has other names then, and would be taken for another model. Within the
bodies of loops some of the numbers stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from elastic_inference.frameworks.tensorflow.signatures import SAVED_MODEL

_OF_NODES = frozenset({"name", "input"})
_VARIABLE_NAME = "_user_specified_name"
_NUMBERED = re.compile(r"(.*?)_(\d+)")


def renumber(folder: Path) -> None:
    """Number the functions of the SavedModel in `folder` from 0, name by name."""
    from tensorflow.core.protobuf import (  # noqa: PLC0415 - TensorFlow has been loaded
        saved_model_pb2,
    )

    path = folder / SAVED_MODEL
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta in model.meta_graphs:
        functions = meta.graph_def.library.function
        names = _numbered_anew(function.signature.name for function in functions)
        _rename(meta, names)
        functions.sort(key=lambda function: function.signature.name)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _numbered_anew(names: Iterable[str]) -> dict[str, str]:
    """New names by old ones. Those with one stem stay in their order."""
    found = [(match[1], int(match[2])) for name in names if (match := _NUMBERED.fullmatch(name))]
    counts: dict[str, int] = {}
    renamed = {}
    for stem, number in sorted(found):
        count = counts[stem] = counts.get(stem, -1) + 1
        renamed[f"{stem}_{number}"] = f"{stem}_{count}"
    return renamed


def _rename(message: Any, names: Mapping[str, str]) -> None:
    """Replace the names wherever a text in `message` is one; nodes may be called the same."""
    is_node = message.DESCRIPTOR.name == "NodeDef"
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _rename_map(value, names)
        elif field.type == field.TYPE_MESSAGE:
            for each in (value,) if hasattr(value, "ListFields") else value:
                _rename(each, names)
        elif field.type == field.TYPE_STRING and not (is_node and field.name in _OF_NODES):
            if not isinstance(value, str):
                value[:] = [names.get(each, each) for each in value]
            elif value in names:
                setattr(message, field.name, names[value])


def _rename_map(entries: Any, names: Mapping[str, str]) -> None:
    for key in list(entries):
        value = entries[key]
        if key == _VARIABLE_NAME:
            # Only messages about errors have it.
            del entries[key]
        elif hasattr(value, "ListFields"):
            _rename(value, names)
        elif value in names:
            entries[key] = names[value]
    # All are taken out first: a new name may be another's old one.
    moved = {}
    for key in [key for key in entries if key in names]:
        value = entries[key]
        moved[names[key]] = _copy(value) if hasattr(value, "CopyFrom") else value
        del entries[key]
    for key, value in moved.items():
        if hasattr(value, "CopyFrom"):
            entries[key].CopyFrom(value)
        else:
            entries[key] = value


def _copy(message: Any) -> Any:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied
