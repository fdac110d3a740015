"""Targets of the model server: TensorFlow Serving's messages and JSON. Without I/O."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.protocol.tensors import Array
from elastic_inference.protocol.wireformat import fields, number_field, submessage
from elastic_inference.serving import json_answers, json_numbers, messages
from elastic_inference.serving.json_documents import read_document
from elastic_inference.serving.json_examples import read_examples
from elastic_inference.serving.json_numbers import cut
from elastic_inference.serving.json_tensors import Feeds, read_feeds
from elastic_inference.serving.rest import _restore
from elastic_inference.serving.service import PREDICT, ModelSpec, Prediction
from tests.fuzz.mutations import mutate_bytes, mutate_document
from tests.fuzz.target import Target, accepted
from tests.fuzz.wire import mutate_message

# A longer way is not taken with what is larger.
_LARGE = 1 << 20


def tensor(dtype: int, sizes: Sequence[int], body: bytes) -> bytes:
    """A TensorProto."""
    dims = b"".join(submessage(2, number_field(1, size)) for size in sizes)
    return number_field(1, dtype) + submessage(2, dims) + body


def request(*tensors: bytes) -> bytes:
    """A PredictRequest."""
    spec = submessage(1, b"default") + submessage(2, number_field(1, 3)) + submessage(3, b"s")
    inputs = (
        submessage(2, submessage(1, b"%d" % index) + submessage(2, each))
        for index, each in enumerate(tensors)
    )
    return submessage(1, spec) + b"".join(inputs) + submessage(3, b"y")


class ServingMessages(Target):
    """Requests of the services: tensors that are accepted survive being written."""

    name = "serving-messages"
    cases = 60_000
    READERS: ClassVar[tuple[Callable[[bytes], Any], ...]] = (
        messages.read_predict,
        messages.read_inference,
        messages.read_multi_inference,
        messages.read_metadata,
        messages.read_status,
        messages.read_reload,
    )

    def make_seeds(self) -> Sequence[bytes]:
        floats = struct.pack("<4f", 1, 2, 3, 4)
        spec = submessage(1, submessage(1, b"m") + submessage(4, b"label"))
        example = submessage(2, submessage(1, submessage(1, b"abc") + submessage(1, b"")))
        within = submessage(2, submessage(2, submessage(1, b"abc") + submessage(2, b"c")))
        policy = submessage(7, submessage(102, submessage(1, b"\1\2\3")))
        label = submessage(8, submessage(1, b"stable") + number_field(2, 2))
        model = submessage(1, b"n") + submessage(2, b"/p") + submessage(4, b"tensorflow")
        config = submessage(1, submessage(1, submessage(1, model + policy + label)))
        return (
            b"\0" + request(tensor(1, [2, 2], submessage(4, floats))),
            b"\0" + request(tensor(1, [2, 2], submessage(5, floats)), tensor(10, [2], b"\x58\1")),
            b"\0" + request(tensor(7, [2], submessage(8, b"a") + submessage(8, b"bc"))),
            b"\0" + request(tensor(7, [2], submessage(4, b"\1\2abc"))),
            b"\0" + request(tensor(9, [3], submessage(10, b"\1\xff\xff\xff\xff\x0f"))),
            b"\0" + request(tensor(19, [], submessage(13, b"\x80\x78")), tensor(8, [0], b"")),
            b"\0" + request(tensor(18, [2], submessage(12, floats * 2))),
            b"\1" + spec + example,
            b"\1" + spec + within,
            b"\2" + submessage(1, spec + submessage(2, b"tensorflow/serving/regress")) + example,
            b"\3" + spec + submessage(2, b"signature_def"),
            b"\4" + spec,
            b"\5" + config,
            b"\5" + submessage(1, submessage(2, submessage(1, b"type"))),
        )

    def run(self, case: bytes) -> None:
        reader = self.READERS[(case[0] if case else 0) % len(self.READERS)]
        found = accepted(reader, case[1:])
        if not isinstance(found, messages.PredictRequest):
            return
        if sum(array.nbytes for array in found.inputs.values()) > _LARGE:
            return
        types = {key: Tensor("x:0", dtype, None) for key, dtype in found.dtypes.items()}
        answer = Prediction(ModelSpec("m", 1), found.inputs, Signature({}, types, PREDICT, b""))
        for as_content in (False, True):
            written = messages.write_prediction(answer, as_content=as_content)
            # An answer's outputs lie in the field of a request's spec, and the other way round.
            again = messages.read_predict(_as_request(written))
            assert again.dtypes == found.dtypes
            assert all(same(again.inputs[key], each) for key, each in found.inputs.items())

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        others = tuple(seed[1:] for seed in self.seeds)
        if chance.random() < 0.7:
            return case[:1] + mutate_message(chance, case[1:], others)
        return case[:1] + mutate_bytes(chance, case[1:], others)


def _as_request(response: bytes) -> bytes:
    """A PredictResponse's outputs as the inputs of a PredictRequest."""
    view = memoryview(response)
    return b"".join(
        submessage(2, bytes(view[body[0] : body[1]]))
        for number, _, body in fields(view, (0, len(view)))
        if number == 1
    )


def same(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype == np.object_:
        return bool((one == other).all())
    return one.tobytes() == other.tobytes()


class ServingJson(Target):
    """JSON requests: arrays that are read apart are what they are within the text."""

    name = "serving-json"
    cases = 60_000
    INFOS: ClassVar[tuple[Mapping[str, Tensor], ...]] = tuple(
        {key: Tensor("x:0", dtype, None) for key, dtype in types.items()}
        for types in (
            {"x": "float32"},
            {"x": "int64"},
            {"x": "string"},
            {"x": "float64", "y": "bool", "z": "uint8"},
            {"x": "bfloat16"},
            {"x": "complex64"},
        )
    )

    def make_seeds(self) -> Sequence[bytes]:
        rows = [[0.5, 1, -2e-5, 1e300], [12345678901234567, 0.25, -0.0, 3]]
        named = [{"x": [1.5] * 9, "y": True, "z": [1, 2]}, {"x": [2] * 9, "y": False, "z": [3, 4]}]
        documents: tuple[tuple[int, Any], ...] = (
            (0, {"instances": rows}),
            (0, {"inputs": rows, "signature_name": "s"}),
            (1, {"instances": list(range(40))}),
            (2, {"instances": ["a", {"b64": "YWJj"}, "é"]}),
            (3, {"instances": named}),
            (3, {"inputs": {"x": rows, "y": [[True]], "z": [[255]]}}),
            (4, {"instances": rows}),
            (5, {"instances": [1]}),
            (6, {"examples": [{"x": [1, 2], "y": "a", "z": 0.5}], "context": {"c": [{"b64": ""}]}}),
        )
        return tuple(bytes([number]) + json.dumps(each).encode() for number, each in documents)

    def run(self, case: bytes) -> None:
        number = (case[0] if case else 0) % (len(self.INFOS) + 1)
        body = case[1:]
        if number == len(self.INFOS):
            document = accepted(read_document, body)
            if document is not None:
                accepted(read_examples, document)
            return
        info = self.INFOS[number]
        found = accepted(_feeds, body, info, _LARGE)
        # However small an array is, here it is read apart.
        apart = accepted(_feeds, body, info, 2)
        assert (found is None) == (apart is None)
        if found is None or apart is None:
            return
        assert found.by_row == apart.by_row
        for key, array in found.inputs.items():
            assert same(array, apart.inputs[key]) or close(array, apart.inputs[key])
        _write(found, info)

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        try:
            changed = mutate_document(chance, json.loads(case[1:]))
            return case[:1] + json.dumps(changed).encode()
        except (ValueError, RecursionError):
            return case[:1] + mutate_bytes(chance, case[1:], self.seeds)


def _feeds(body: bytes, info: Mapping[str, Tensor], smallest: int) -> Feeds:
    with patch.object(json_numbers, "_SMALLEST", smallest):
        text, arrays = cut(body)
    document = read_document(text)
    if arrays:
        _restore(document, arrays)
    return read_feeds(document, info)


def close(one: Array, other: Array) -> bool:
    """Whether numbers are no further apart than TensorFlow Serving's are from what is written."""
    return one.dtype.kind == "f" and np.allclose(one, other, rtol=1e-15, equal_nan=True)


def _write(feeds: Feeds, info: Mapping[str, Tensor]) -> None:
    """What was read can be written, and is JSON."""
    signature = Signature({}, info, PREDICT, b"")
    write = json_answers.write_rows if feeds.by_row else json_answers.write_columns
    try:
        text = write(feeds.inputs, signature)
    except InvalidRequestError:
        return
    document = json.loads(text)
    assert list(document) == ["predictions" if feeds.by_row else "outputs"]
