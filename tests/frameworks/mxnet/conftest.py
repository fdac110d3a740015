"""An accelerator for `mx.eia()`."""

from __future__ import annotations

import pytest

from elastic_inference.client import Accelerator
from elastic_inference.frameworks import attach


@pytest.fixture
def eia(target: Accelerator, monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    """The file's accelerator, as the first one that is visible to this process."""
    monkeypatch.setitem(attach._connected, 0, target)
    return target
