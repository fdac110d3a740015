"""NVIDIA's Multi-Process Service: what bounds the accelerators' shares of a GPU, if it runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_DEFAULT = "/tmp/nvidia-mps"  # noqa: S108 - MPS's own default
_DAEMON = "nvidia-cuda-mps-control"
_MANY_USERS = b"-multiuser-server"
# The kernel cuts names there.
_LONGEST_NAME = 15


def is_running() -> bool:
    """Whether processes that are started now would use it."""
    return Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", _DEFAULT), "control").exists()


def serves_many_users(processes: Path = Path("/proc")) -> bool:
    """Whether its daemon lets several users have a GPU at one time; else they take turns."""
    for name in processes.glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if name.read_text().strip() == _DAEMON[:_LONGEST_NAME]:
                return _MANY_USERS in name.with_name("cmdline").read_bytes().split(b"\0")
    return False
