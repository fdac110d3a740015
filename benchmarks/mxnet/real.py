"""Real MXNet, for programs that its environment runs; nothing of this project is there."""

from __future__ import annotations

import os

import numpy as np

# Threads that wait by spinning would take the other side's time.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# MXNet takes half of the processors for hyperthreads that do not count; the accelerator has all.
os.environ["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
# MXNet asks for a name that numpy does not have any more.
setattr(np, "bool", bool)  # noqa: B010 - to a type checker it is a class

import mxnet as mx  # noqa: E402

__all__ = ["mx"]
