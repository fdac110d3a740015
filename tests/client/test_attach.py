"""From nothing but an instance's environment to an inference: metadata, Connect, banner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.models import scaled

_PROGRAM = """
import sys
import numpy as np
import elastic_inference as ei
from elastic_inference.errors import ElasticInferenceError, NotFoundError

for wanted in (None, 0, 1):
    with ei.connect(wanted) as accelerator, accelerator.load(sys.argv[1]) as model:
        y = model.run({"x": np.ones(3, np.float32)})[0]
        print(accelerator.id, accelerator.type, accelerator.transport, y.tolist())
try:
    ei.connect(2)
except NotFoundError as error:
    print(error)
"""


def _run(
    home: Path, program: str, *arguments: str, accelerators: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "elastic_inference.cli", "run"),
            *("--accelerator", accelerators, "--", sys.executable, "-c", program, *arguments),
        ],
        env={**os.environ, "EI_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=100.0,
        check=False,
    )


@pytest.mark.parametrize("transport", ["auto", "tls"])
def test_an_instance_finds_its_accelerators(short_path: Path, transport: str) -> None:
    path = short_path / "m.onnx"
    path.write_bytes(scaled(2))
    done = _run(
        short_path / "home",
        _PROGRAM,
        str(path),
        accelerators="eia1.medium,eia2.medium",
        EI_TRANSPORT=transport,
    )
    assert done.returncode == 0, done.stderr
    first, same, second, refused = (line.split(" ", 3) for line in done.stdout.splitlines())
    assert first == same
    assert first[0] != second[0]
    assert (first[1], second[1]) == ("eia1.medium", "eia2.medium")
    assert {first[2], second[2]} == {"shm" if transport == "auto" else "tls"}
    assert first[3] == second[3] == "[2.0, 2.0, 2.0]"
    assert "visible" in " ".join(refused)
    # The banner is printed once, however many accelerators are used.
    banner = [line for line in done.stderr.splitlines() if not line.startswith("ei:")]
    assert banner[0].startswith("Using Amazon Elastic Inference Client Library Version: ")
    assert banner[1:4] == [
        "Number of Elastic Inference Accelerators Available: 2",
        f"Elastic Inference Accelerator ID: {first[0]}",
        f"Elastic Inference Accelerator Type: {first[1]}",
    ]
    assert len(banner) == 4


def test_settings_of_the_environment(short_path: Path) -> None:
    path = short_path / "m.onnx"
    path.write_bytes(scaled(2))
    done = _run(
        short_path / "home",
        _PROGRAM,
        str(path),
        accelerators="eia1.medium,eia2.medium",
        EI_BANNER="off",
        EI_VISIBLE_DEVICES="1,0",
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(" ")[1] for line in done.stdout.splitlines()[:3]] == [
        "eia2.medium",
        "eia2.medium",
        "eia1.medium",
    ]
    assert "Using Amazon" not in done.stderr


def test_the_credentials_are_checked(short_path: Path) -> None:
    program = """
import dataclasses
from elastic_inference.client import discovery
from elastic_inference.client.grant import EndpointLocator
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.settings import ClientSettings, from_environment

settings = from_environment(ClientSettings)
own = discovery.credentials(settings)
attached = discovery.attached(settings)[0].accelerator_id
wrong = dataclasses.replace(own, secret_access_key="wrong")
unknown = dataclasses.replace(own, access_key_id="AKIDNONE")
for key, accelerator_id in ((wrong, attached), (unknown, attached), (own, "eia-" + "0" * 32)):
    try:
        EndpointLocator(accelerator_id, lambda key=key: key, settings).grant()
    except ElasticInferenceError as error:
        print(error.kind)
"""
    done = _run(short_path / "home", program, accelerators="eia1.medium")
    assert done.returncode == 0, done.stderr
    kinds = done.stdout.split()
    assert kinds[:2] == ["unauthenticated", "unauthenticated"]
    assert kinds[2] in {"not-found", "access-denied"}
