"""A pool whose address and credentials the environment has, as after `ei env`."""

from __future__ import annotations

import pytest

from elastic_inference.compute import tools
from tests.aws.conftest import Aws, StartAws, aws, start_aws

__all__ = ["StartAws", "aws", "start_aws"]


@pytest.fixture
def pool(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    variables = {
        "AWS_ACCESS_KEY_ID": aws.owner.id,
        "AWS_SECRET_ACCESS_KEY": aws.owner.secret,
        "AWS_CA_BUNDLE": str(aws.pool.pointer.ca),
        "AWS_DEFAULT_REGION": aws.region,
        **tools.variables(aws.pool.pointer.endpoint),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return aws
