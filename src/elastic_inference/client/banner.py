"""The original client library's lines, printed once per process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from elastic_inference._version import __version__
from elastic_inference.client.discovery import Attached

_once = threading.Lock()


def show(accelerators: Sequence[Attached], used: Attached) -> None:
    """Print the banner on stderr, the first time only."""
    if not _once.acquire(blocking=False):
        return
    lines = (
        f"Using Amazon Elastic Inference Client Library Version: {__version__}",
        f"Number of Elastic Inference Accelerators Available: {len(accelerators)}",
        f"Elastic Inference Accelerator ID: {used.accelerator_id}",
        f"Elastic Inference Accelerator Type: {used.accelerator_type}",
    )
    if sys.stderr is not None:
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
