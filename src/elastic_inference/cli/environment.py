"""What a command's environment says of the instance that it runs as."""

from __future__ import annotations

import os
from pathlib import Path

from elastic_inference.compute import trust


def environment(metadata_url: str, endpoint: str, bundle: Path) -> dict[str, str]:
    """This process's environment, with what leads to an instance's accelerators.

    Args:
        bundle: PEM file of the authorities to trust.
    """
    inherited = dict(os.environ)
    inherited.pop("AWS_EC2_METADATA_DISABLED", None)
    return inherited | {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata_url,
        "AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME": endpoint,
        "AWS_CA_BUNDLE": str(bundle),
        "EI_RUN": "1",
    }


def bundle_of(ca: Path) -> str:
    """PEM of the authorities that this process trusts anyway, and of a pool's.

    Raises:
        ConfigurationError: AWS_CA_BUNDLE names a file that cannot be read.
    """
    return trust.bundle(ca, os.environ.get("AWS_CA_BUNDLE"))
