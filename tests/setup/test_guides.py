"""Every command of the guides, as a script on a pool of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "aws" / "guides.sh"
COMMANDS = (
    "ec2 create-security-group",
    "ec2 authorize-security-group-ingress",
    "ec2 authorize-security-group-egress",
    "ec2 create-vpc-endpoint",
    "iam create-policy",
    "iam create-role",
    "iam add-role-to-instance-profile",
    "ec2 run-instances",
    "elastic-inference describe-accelerators",
    "cloudwatch list-metrics",
)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_commands_of_the_guides_work() -> None:
    programs = str(Path(sys.executable).parent)
    done = subprocess.run(
        [str(SCRIPT)],
        env=dict(os.environ) | {"PATH": f"{programs}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for each in COMMANDS:
        assert any(line.startswith(f"$ aws {each} ") for line in lines), each
    assert '"ElasticInferenceAcceleratorAssociationState": "associating"' in done.stdout
    assert "answer [[0.0, 0.0, 0.254" in done.stdout
    assert "(eia1.large) did 1" in done.stdout
