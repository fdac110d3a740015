"""Real MXNet, in an environment of its own."""

from __future__ import annotations

import os

import numpy as np

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
# MXNet asks for a name that numpy does not have any more.
setattr(np, "bool", bool)  # noqa: B010 - to a type checker it is a class

import mxnet as mx  # noqa: E402

__all__ = ["mx"]
