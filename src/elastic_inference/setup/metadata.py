"""What an instance's metadata service says."""

from __future__ import annotations

import os
import urllib.request

_TIMEOUT = 2.0


def own_instance() -> list[str]:
    """The id of the instance that this runs on; none elsewhere."""
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254"
    if not base.startswith("http://"):
        return []
    service = f"{base.rstrip('/')}/latest"
    try:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _ask(f"{service}/api/token", lifetime, "PUT")
        return [_ask(f"{service}/meta-data/instance-id", {"X-aws-ec2-metadata-token": token})]
    except (OSError, ValueError):
        return []


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - http://
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
        text: bytes = answer.read(256)
        return text.decode()
