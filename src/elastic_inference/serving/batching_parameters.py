"""TensorFlow Serving's BatchingParameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from elastic_inference.errors import ConfigurationError
from elastic_inference.serving import schema
from elastic_inference.serving.schema import Kind, Schema

_INT64 = schema.wrapped("Int64Value", schema.INT64)
SCHEMA = Schema(
    "tensorflow.serving.BatchingParameters",
    {
        "max_batch_size": Kind(_INT64),
        "batch_timeout_micros": Kind(_INT64),
        "max_enqueued_batches": Kind(_INT64),
        "num_batch_threads": Kind(_INT64),
        "thread_pool_name": Kind(schema.wrapped("StringValue", schema.text)),
        "enable_large_batch_splitting": Kind(schema.wrapped("BoolValue", schema.boolean)),
        "max_execution_batch_size": Kind(_INT64),
        "allowed_batch_sizes": Kind(schema.INT64, is_repeated=True),
        "pad_variable_length_inputs": Kind(schema.boolean),
    },
)


def _processors() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """How requests are put together.

    Attributes:
        most_rows: of a request and, unless large requests are split, of a batch.
        timeout: how long a request may wait for others, in seconds.
        most_batches: how many of the largest batches may wait.
        threads: how many batches run at a time.
        sizes: what batches are padded to, in rising order; any size if empty.
        pads: whether rows of other shapes are padded to the largest.
        splits: whether a request's rows may go into several batches.
        most_executed: rows of a batch where large requests are split; 0 means `most_rows`.
    """

    most_rows: int = 1000
    timeout: float = 0.0
    most_batches: int = 10
    threads: int = field(default_factory=_processors)
    sizes: tuple[int, ...] = ()
    pads: bool = False
    splits: bool = False
    most_executed: int = 0

    @property
    def batch_rows(self) -> int:
        """The most rows of a batch."""
        return (self.most_executed or self.most_rows) if self.splits else self.most_rows

    def padded(self, rows: int) -> int:
        """The rows that a batch of so many is padded to."""
        return next((size for size in self.sizes if size >= rows), rows)


def read(path: str) -> BatchingParameters:
    """The parameters in the text file at `path`.

    Raises:
        ConfigurationError: it cannot be read, or they cannot be had.
        TextFormatError: it holds none.
    """
    return parameters_of(schema.read_file(path, SCHEMA))


def parameters_of(document: Mapping[str, Any]) -> BatchingParameters:
    """The parameters that `SCHEMA` read; what is not set has TensorFlow Serving's default.

    Raises:
        ConfigurationError: they cannot be had.
    """
    made = BatchingParameters()
    parameters = BatchingParameters(
        most_rows=_number(document, "max_batch_size", made.most_rows, 1),
        timeout=_number(document, "batch_timeout_micros", 0, 0) / 1e6,
        most_batches=_number(document, "max_enqueued_batches", made.most_batches, 0),
        threads=_number(document, "num_batch_threads", made.threads, 1),
        sizes=tuple(document.get("allowed_batch_sizes", ())),
        pads=document.get("pad_variable_length_inputs", False),
        splits=document.get("enable_large_batch_splitting") or False,
        most_executed=_number(document, "max_execution_batch_size", 0, 0),
    )
    _check(parameters)
    return parameters


def _number(document: Mapping[str, Any], name: str, default: int, least: int) -> int:
    value = document.get(name)
    if value is None:
        # A wrapper without its value holds zero.
        value = 0 if name in document else default
    if value < least:
        raise ConfigurationError(f"{name} must be at least {least}; was {value}.")
    return int(value)


def _check(parameters: BatchingParameters) -> None:
    sizes = parameters.sizes
    if any(first >= second for first, second in pairwise((0, *sizes))):
        raise ConfigurationError("allowed_batch_sizes entries must be in increasing order.")
    if sizes and sizes[-1] != parameters.batch_rows:
        which = "max_execution_batch_size" if parameters.splits else "max_batch_size"
        raise ConfigurationError(
            f"Last entry in allowed_batch_sizes must match {which}; last entry was "
            f"{sizes[-1]}; expected {parameters.batch_rows}."
        )
    if parameters.most_executed > parameters.most_rows:
        raise ConfigurationError(
            f"max_execution_batch_size {parameters.most_executed} is larger than max_batch_size "
            f"{parameters.most_rows}."
        )
