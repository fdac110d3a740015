"""Real MXNet, in an environment of its own."""

from __future__ import annotations

import os

import numpy as np

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
# MXNet asks for a name that numpy does not have any more.
np.bool = bool  # type: ignore[attr-defined]

import mxnet as mx  # noqa: E402

__all__ = ["mx"]
