"""MXNet's interface for inference, without MXNet: `mx.eia()` is the attached accelerator.

    from elastic_inference import mxnet as mx

Under `ei run` a program's own `import mxnet` gives this, where no MXNet is installed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from elastic_inference.frameworks.mxnet import package

package.fill(sys.modules[__name__])

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
