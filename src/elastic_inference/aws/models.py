"""Service models: botocore's of today, and the project's own of elastic-inference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import botocore
from botocore.loaders import Loader
from botocore.model import ServiceModel

from elastic_inference.compute.tools import MODELS

# The models by the names that signatures have for their services.
_MODELS: Mapping[str, str] = {
    "ec2": "ec2",
    "iam": "iam",
    "sts": "sts",
    "autoscaling": "autoscaling",
    "monitoring": "cloudwatch",
    "elastic-inference": "elastic-inference",
}
SERVICES = tuple(_MODELS)


@cache
def service_model(service: str) -> ServiceModel:
    """The model of one of `SERVICES`."""
    # The project's own are of what botocore dropped. A user's own models and environment must not
    # change what the pool answers.
    folders = [str(MODELS), str(Path(botocore.__file__).parent / "data")]
    loader = Loader(extra_search_paths=folders, include_default_search_paths=False)
    name = _MODELS[service]
    return ServiceModel(loader.load_service_model(name, "service-2"), name)


@cache
def protocols(service: str) -> tuple[str, ...]:
    """The protocols that a service is spoken to by."""
    metadata = service_model(service).metadata
    return tuple(metadata.get("protocols") or [metadata["protocol"]])
