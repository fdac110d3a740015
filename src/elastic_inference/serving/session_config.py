"""The ConfigProto for those parts of a model that run on the instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elastic_inference.protocol.wireformat import number_field, submessage
from elastic_inference.serving import schema
from elastic_inference.serving.options import Options
from elastic_inference.serving.schema import Kind, Schema

# The fields that change how the instance's processors run a graph, by number.
_NUMBERS = {
    "intra_op_parallelism_threads": 2,
    "inter_op_parallelism_threads": 5,
    "allow_soft_placement": 7,
    "log_device_placement": 8,
    "use_per_session_threads": 9,
    "operation_timeout_in_ms": 11,
}
_DEVICE_COUNT = 1
_DEVICES = Schema(
    "tensorflow.ConfigProto.DeviceCountEntry",
    {"key": Kind(schema.text), "value": Kind(schema.INT32)},
)
SCHEMA = Schema(
    "tensorflow.ConfigProto",
    {
        "device_count": Kind(_DEVICES.read, is_repeated=True),
        "intra_op_parallelism_threads": Kind(schema.INT32),
        "inter_op_parallelism_threads": Kind(schema.INT32),
        "allow_soft_placement": Kind(schema.boolean),
        "log_device_placement": Kind(schema.boolean),
        "use_per_session_threads": Kind(schema.boolean),
        "operation_timeout_in_ms": Kind(schema.INT64),
        # The instance's part never runs on a GPU.
        "gpu_options": Kind(schema.anything),
    },
)


def session_config(options: Options) -> bytes:
    """The serialised ConfigProto that the flags ask for; nothing if they ask for none.

    Raises:
        ConfigurationError: the file cannot be read.
        TextFormatError: it holds no ConfigProto, or fields that change nothing here.
    """
    fields: dict[str, Any] = {}
    if options.tensorflow_session_config_file:
        fields = schema.read_file(options.tensorflow_session_config_file, SCHEMA)
    both = options.tensorflow_session_parallelism
    within = options.tensorflow_intra_op_parallelism or both
    across = options.tensorflow_inter_op_parallelism or both
    if within:
        fields["intra_op_parallelism_threads"] = within
    if across:
        fields["inter_op_parallelism_threads"] = across
    return _serialised(fields)


def _serialised(fields: Mapping[str, Any]) -> bytes:
    parts = []
    for entry in fields.get("device_count", ()):
        key = entry.get("key", "").encode()
        value = number_field(2, entry.get("value", 0) % 2**64)
        parts.append(submessage(_DEVICE_COUNT, submessage(1, key) + value))
    parts.extend(
        number_field(number, int(fields[name]) % 2**64)
        for name, number in _NUMBERS.items()
        if name in fields
    )
    return b"".join(parts)
