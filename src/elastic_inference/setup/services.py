"""Clients of a pool's services, found as AWS's own tools and `ei` find them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from elastic_inference.compute.tools import MODELS
from elastic_inference.control.client import ControlClient
from elastic_inference.control.pointer import Pointer
from elastic_inference.errors import ConfigurationError
from elastic_inference.settings import PoolSettings, from_environment

_TIMEOUT = 10.0
_POINTED = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2")


class Services:
    """Makes clients of EC2, IAM and elastic-inference.

    Args:
        region: None: that of the environment, or the pool's.
        endpoint: the pool's URL. None: what the environment names, else the pool of this user.

    Attributes:
        region: the one in use.

    Raises:
        ConfigurationError: no pool is known, or no region.
    """

    def __init__(self, region: str | None = None, endpoint: str | None = None) -> None:
        from botocore.session import Session  # noqa: PLC0415 - slow to load

        self._session = Session()
        self._session.get_component("data_loader").search_paths.append(str(MODELS))
        self._options: dict[str, Any] = {}
        known = (
            region or os.environ.get("AWS_REGION") or self._session.get_config_variable("region")
        )
        pool_region = self._find(endpoint)
        self.region = str(region or pool_region or known or "")
        if not self.region:
            raise ConfigurationError(
                "No region is known.", next_step="Give --region, or set AWS_DEFAULT_REGION."
            )

    def client(self, service: str) -> Any:
        """The client of a service, as botocore makes it."""
        return self._session.create_client(service, region_name=self.region, **self._options)

    def _find(self, endpoint: str | None) -> str | None:
        """Settle where the pool is; its region, where that is known by asking it."""
        if endpoint is None and os.environ.get("EI_RUN") == "1":
            endpoint = os.environ.get("AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME")
        if endpoint is not None:
            self._options = {"endpoint_url": endpoint}
            return None
        if any(os.environ.get(name) for name in _POINTED):
            return None
        pointer = Pointer.load(from_environment(PoolSettings).home.expanduser())
        if pointer is None:
            raise ConfigurationError(
                "No pool is known.",
                next_step='Start one with ei up, or point at one: eval "$(ei env)".',
            )
        self._options = {
            "endpoint_url": pointer.endpoint,
            "verify": str(Path(pointer.ca)),
            "aws_access_key_id": pointer.access_key_id,
            "aws_secret_access_key": pointer.secret_access_key,
            "aws_session_token": pointer.session_token or None,
        }
        return str(ControlClient(pointer, _TIMEOUT).call("DescribePool", {})["region"])
