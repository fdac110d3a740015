"""What a server tells of its models in JSON: the state of their versions, and their signatures.

It is what protobuf's own writer makes of the messages, with every field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.protocol.protobuf import decode, parse_proto
from elastic_inference.protocol.tensorflow import NAMES as DTYPES
from elastic_inference.serving.service import ModelSpec, VersionStatus
from elastic_inference.serving.statuses import OK, status_of, words_of

# `dtype` numbers of references begin here.
_REFERENCE = 100
# Types whose names are not numpy's with DT_ before them.
_NAMES: Mapping[str, str] = {
    "float16": "HALF",
    "float32": "FLOAT",
    "float64": "DOUBLE",
}
_MESSAGES = parse_proto("""
message Dim {
  int64 size = 1;
  string name = 2;
}
message TensorShapeProto {
  repeated Dim dim = 2;
  bool unknown_rank = 3;
}
message CooSparse {
  string values_tensor_name = 1;
  string indices_tensor_name = 2;
  string dense_shape_tensor_name = 3;
}
message CompositeTensor {
  span type_spec = 1;
}
message TensorInfo {
  string name = 1;
  int32 dtype = 2;
  TensorShapeProto tensor_shape = 3;
  CooSparse coo_sparse = 4;
  CompositeTensor composite_tensor = 5;
}
message SignatureDef {
  map<string, TensorInfo> inputs = 1;
  map<string, TensorInfo> outputs = 2;
  string method_name = 3;
}
""")


def write_status(versions: Sequence[VersionStatus]) -> bytes:
    """The answer to a question for a model's state."""
    return _text({"model_version_status": [_version(each) for each in versions]})


def _version(each: VersionStatus) -> dict[str, Any]:
    status = OK if each.error is None else status_of(each.error)
    words = "" if each.error is None else words_of(each.error)
    return {
        # protobuf's JSON has integers of 64 bits as text.
        "version": str(each.version),
        "state": each.state,
        "status": {"error_code": status.name, "error_message": words},
    }


def write_metadata(spec: ModelSpec, signatures: Mapping[str, Signature]) -> bytes:
    """The answer to a question for a model's signatures."""
    found = {key: _signature(signature) for key, signature in signatures.items()}
    model = {"name": spec.name, "signature_name": spec.signature, "version": str(spec.version)}
    return _text({"model_spec": model, "metadata": {"signature_def": {"signature_def": found}}})


def _text(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _signature(signature: Signature) -> dict[str, Any]:
    found = decode(_MESSAGES["SignatureDef"], memoryview(signature.raw))
    return {
        "inputs": {key: _info(each) for key, each in found.get("inputs", {}).items()},
        "outputs": {key: _info(each) for key, each in found.get("outputs", {}).items()},
        "method_name": found.get("method_name", ""),
        "defaults": {},
    }


def _info(info: Mapping[str, Any]) -> dict[str, Any]:
    number = info.get("dtype", 0)
    shape = info.get("tensor_shape")
    told: dict[str, Any] = {"dtype": _dtype(number)}
    if shape is not None:
        dims = [
            {"size": str(dim.get("size", 0)), "name": dim.get("name", "")}
            for dim in shape.get("dim", ())
        ]
        told["tensor_shape"] = {"dim": dims, "unknown_rank": shape.get("unknown_rank", False)}
    if "coo_sparse" in info:
        sparse = _MESSAGES["CooSparse"].fields.values()
        told["coo_sparse"] = {each.name: info["coo_sparse"].get(each.name, "") for each in sparse}
    elif "composite_tensor" in info:
        told["composite_tensor"] = {"components": []}
    elif "name" in info:
        told["name"] = info["name"]
    return told


def _dtype(number: int) -> str | int:
    if not number:
        return "DT_INVALID"
    name = DTYPES.get(number - _REFERENCE if number > _REFERENCE else number)
    if name is None:
        return number
    return f"DT_{_NAMES.get(name, name.upper())}" + ("_REF" if number > _REFERENCE else "")
