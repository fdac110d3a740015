"""What points AWS's own tools at a pool."""

from __future__ import annotations

import os
from pathlib import Path

# The services that a pool has, as variables name them; all others stay AWS's. SNS belongs to them,
# though nothing of it is there: who asks for it is to hear that of the pool.
_SERVICES = ("EC2", "IAM", "STS", "AUTO_SCALING", "CLOUDWATCH", "SNS", "ELASTIC_INFERENCE")
# The service models that today's tools lack, laid out as AWS_DATA_PATH wants it.
MODELS = Path(__file__).parent.parent / "aws" / "data"


def variables(endpoint: str, data_path: str = "") -> dict[str, str]:
    """The variables of the environment that the AWS CLI and SDKs look for.

    Args:
        endpoint: the pool's URL.
        data_path: what AWS_DATA_PATH is now.
    """
    paths = [each for each in data_path.split(os.pathsep) if each and each != str(MODELS)]
    found = {f"AWS_ENDPOINT_URL_{each}": endpoint for each in _SERVICES}
    return found | {"AWS_DATA_PATH": os.pathsep.join([*paths, str(MODELS)])}
