"""An attached accelerator for sessions to run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.settings import ClientSettings
from tests.processes import AcceleratorProcess


@pytest.fixture(scope="module")
def target(accelerator: AcceleratorProcess) -> Iterator[Accelerator]:
    """The file's accelerator, reached over its Unix socket."""
    address = Address(socket_path=str(accelerator.config.data_socket))
    with connect(settings=ClientSettings(), address=address, token=accelerator.token()) as target:
        yield target
