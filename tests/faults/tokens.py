"""What `ei token` tells a client that is not the project's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from tests.faults.errors import ClearError

_TIMEOUT = 40.0


def token(accelerator: str) -> dict[str, Any]:
    """The grant for an accelerator.

    Raises:
        ClearError: the pool does not answer, or gives none.
    """
    words = [sys.executable, "-m", "elastic_inference.cli", "token", accelerator, "-o", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    if done.returncode:
        time.sleep(0.2)
        raise ClearError(done.stderr.strip())
    grant: dict[str, Any] = json.loads(done.stdout)
    return grant
