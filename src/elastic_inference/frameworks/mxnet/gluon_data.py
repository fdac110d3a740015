"""`mxnet.gluon.data`, of which scripts for inference take the transforms."""

from __future__ import annotations

from elastic_inference.frameworks.mxnet import transforms

__all__ = ["transforms"]
