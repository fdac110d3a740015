"""What scripts take from `mxnet.base`."""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.errors import MXNetError, NotImplementedForSymbol

mx_real_t = np.float32
string_types = (str,)
numeric_types = (float, int, np.generic)
integer_types = (int, np.int32, np.int64)


def py_str(text: bytes | str) -> str:
    return text.decode() if isinstance(text, bytes) else text


def check_call(result: Any) -> None:
    """There is no C library whose calls could fail."""
    del result


__all__ = [
    "MXNetError",
    "NotImplementedForSymbol",
    "check_call",
    "integer_types",
    "mx_real_t",
    "numeric_types",
    "py_str",
    "string_types",
]
