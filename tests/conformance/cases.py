"""The cases of ONNX's own backend tests whose models and data come with the package `onnx`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import runner
from onnx.backend.test.loader import DATA_DIR, load_model_tests

KINDS = MappingProxyType(
    {
        "node": "node",
        "simple": "simple",
        "model": "real",
        "converted": "pytorch-converted",
        "operator": "pytorch-operator",
    }
)
"""Kinds of cases, as the report names them, and ONNX's own names for them."""

FAMILIES = ("tensors", "strings", "bfloat16", "8-bit floats", "sub-byte", "sequences", "optionals")
"""What a case's inputs and outputs are; the last one that applies is the case's family."""

_T = onnx.TensorProto
_FAMILY_OF: dict[int, str] = {
    _T.STRING: "strings",
    _T.BFLOAT16: "bfloat16",
    **dict.fromkeys((_T.INT2, _T.UINT2, _T.INT4, _T.UINT4, _T.FLOAT4E2M1), "sub-byte"),
    **dict.fromkeys(
        (_T.FLOAT8E4M3FN, _T.FLOAT8E4M3FNUZ, _T.FLOAT8E5M2, _T.FLOAT8E5M2FNUZ, _T.FLOAT8E8M0),
        "8-bit floats",
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: ONNX's own.
        kind: one of `KINDS`.
        family: one of `FAMILIES`.
        model: serialised.
        data: inputs by position and expected outputs; tensors are arrays (of `ml_dtypes` where
            numpy lacks the type), sequences lists, absent optionals None.
        rtol, atol: the case's own tolerance.
    """

    name: str
    kind: str
    family: str
    model: bytes
    data: tuple[tuple[list[Any], list[Any]], ...]
    rtol: float
    atol: float


def cases(kinds: Iterable[str] = KINDS) -> Iterator[Case]:
    """The cases of some kinds, each read or made when it is its turn."""
    for kind in kinds:
        for made in sorted(_tests(kind), key=lambda test: str(test.name)):
            if made.model is not None:
                yield _from_memory(made)
            elif made.url is not None:
                yield _from_light(made, kind)
            else:
                yield _from_folder(made, kind)


def families(model: onnx.ModelProto) -> str:
    """The family of a model, by its inputs and outputs."""
    found = {"tensors"}
    for value in (*model.graph.input, *model.graph.output):
        found.update(_families(value.type))
    return max(found, key=FAMILIES.index)


def _families(kind: onnx.TypeProto) -> Iterator[str]:
    if kind.HasField("optional_type"):
        yield "optionals"
    elif kind.HasField("sequence_type"):
        yield "sequences"
        yield from _families(kind.sequence_type.elem_type)
    else:
        yield _FAMILY_OF.get(kind.tensor_type.elem_type, "tensors")


@cache
def _tests(kind: str) -> list[Any]:
    with warnings.catch_warnings():
        # Cases about infinities and NaN make some.
        warnings.simplefilter("ignore", RuntimeWarning)
        np.random.seed(0)  # noqa: NPY002 - what the cases draw from; the same in every run
        return list(load_model_tests(kind=KINDS[kind]))


def _from_memory(made: Any) -> Case:
    data = tuple(
        ([_value(item) for item in inputs], [_value(item) for item in outputs])
        for inputs, outputs in made.data_sets
    )
    return Case(
        made.name,
        "node",
        families(made.model),
        made.model.SerializeToString(),
        data,
        made.rtol,
        made.atol,
    )


def _value(item: Any) -> Any:
    if isinstance(item, list | tuple):
        return [_value(each) for each in item]
    if item is None:
        return None
    return numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else np.asarray(item)


def _from_folder(made: Any, kind: str) -> Case:
    folder = Path(made.model_dir)
    raw = (folder / "model.onnx").read_bytes()
    model = onnx.ModelProto.FromString(raw)
    data = tuple(
        (_read(each, "input", model.graph.input), _read(each, "output", model.graph.output))
        for each in sorted(folder.glob("test_data_set*"))
    )
    return Case(made.name, kind, families(model), raw, data, made.rtol, made.atol)


def _read(folder: Path, what: str, declared: Any) -> list[Any]:
    count = len(list(folder.glob(f"{what}_*.pb")))
    return [
        _parse((folder / f"{what}_{index}.pb").read_bytes(), declared[index].type)
        for index in range(count)
    ]


def _parse(raw: bytes, kind: onnx.TypeProto) -> Any:
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(raw))
    if kind.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(raw))
    return numpy_helper.to_array(onnx.TensorProto.FromString(raw))


def _from_light(made: Any, kind: str) -> Case:
    """A well-known network with weights of one value each, and made-up input."""
    path = Path(DATA_DIR) / "light" / Path(made.url).name
    raw = path.read_bytes()
    model = onnx.ModelProto.FromString(raw)
    constant = {each.name for each in model.graph.initializer}
    inputs = [
        runner.Runner.generate_dummy_data(each, name=made.name)
        for each in model.graph.input
        if each.name not in constant
    ]
    expected = [
        numpy_helper.to_array(
            onnx.TensorProto.FromString(
                path.with_name(f"{path.stem}_output_{index}.pb").read_bytes()
            )
        )
        for index in range(len(model.graph.output))
    ]
    return Case(made.name, kind, families(model), raw, ((inputs, expected),), made.rtol, made.atol)
