"""Everything that `onnxruntime` has, with sessions that run on an accelerator.

    from elastic_inference.onnxruntime import InferenceSession, SessionOptions

The application's own `import onnxruntime` stays as it is.
"""

from __future__ import annotations

from typing import Any

import onnxruntime as _real

from elastic_inference.frameworks.onnxruntime.binding import IOBinding
from elastic_inference.frameworks.onnxruntime.options import RunOptions, SessionOptions
from elastic_inference.frameworks.onnxruntime.session import InferenceSession

__all__ = ["IOBinding", "InferenceSession", "RunOptions", "SessionOptions"]
__all__ += [name for name in dir(_real) if not name.startswith("_") and name not in __all__]
__version__: str = _real.__version__


def __getattr__(name: str) -> Any:
    return getattr(_real, name)


def __dir__() -> list[str]:
    return sorted(__all__)
