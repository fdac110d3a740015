"""How the tools end: what went wrong in one line, and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from elastic_inference.errors import ElasticInferenceError


def run(name: str, tool: Callable[[], bool]) -> int:
    """Run a tool; 0 if it says that all is well, 2 for bad usage, 1 for a failure.

    Args:
        name: of the tool, for messages.
    """
    try:
        return 0 if tool() else 1
    except ElasticInferenceError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2 if error.kind == "invalid-request" else 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # What AWS's client raises has no base of its own that could be named without loading it.
        if not type(error).__module__.startswith("botocore"):
            raise
        print(f"{name}: {error}", file=sys.stderr)
        return 1
