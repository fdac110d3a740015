"""An accelerator, as an application sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from elastic_inference.client import banner
from elastic_inference.client.discovery import Attached, attached, choose, credentials
from elastic_inference.client.grant import Address, EndpointLocator, FixedLocator, Grant, Locator
from elastic_inference.client.link import Link
from elastic_inference.client.model import Model, empty
from elastic_inference.client.source import ModelSource, files_of
from elastic_inference.errors import ConfigurationError
from elastic_inference.protocol.tensors import Array
from elastic_inference.settings import ClientSettings, from_environment


class Accelerator:
    """An attached accelerator. Its methods may be called from any thread.

    After a fork, parent and child each use it with connections of their own.

    Attributes:
        id: `eia-…`.
        type: e.g. `eia1.medium`.
    """

    def __init__(self, locator: Locator, settings: ClientSettings) -> None:
        self.settings = settings
        self._link = Link(locator, settings)
        self.id = self._link.accelerator_id
        self.type = self._link.grant.accelerator_type or str(
            self._link.info.get("accelerator_type", "")
        )

    def load(self, source: ModelSource, options: Mapping[str, Any] | None = None) -> Model:
        """Load a model: upload what the accelerator does not have, and get it ready.

        Args:
            source: a path (external data is found beside it), bytes, an open binary file, or
                files by name. It is needed again after a loss of the accelerator.
            options: see "Loading a model" in docs/protocol.md.

        Raises:
            ModelFormatError: it is not a model that can be run.
            InvalidRequestError: an option is wrong, or a file cannot be read.
            AcceleratorOutOfMemoryError: it does not fit the accelerator's memory.
            ElasticInferenceError: any other failure.
        """
        return Model(self._link, files_of(source), options or {})

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """An uninitialised array that `Model.run` passes without a copy, if it can."""
        return empty(self._link, tuple(shape), dtype)

    def info(self) -> dict[str, Any]:
        """What the accelerator says of itself: see "The accelerator" in docs/protocol.md."""
        answer: dict[str, Any] = self._link.request("GET", "/v2/elastic-inference/accelerator")
        return answer

    def usage(self) -> dict[str, int]:
        """Requests, bytes and times so far: see "Usage" in docs/protocol.md."""
        answer: dict[str, int] = self._link.request("GET", "/v2/elastic-inference/usage")
        return answer

    @property
    def transport(self) -> str:
        """How tensors travel: `shm`, `unix`, `tls` or `tcp`."""
        return self._link.transport

    def close(self) -> None:
        """End the use of its models, report usage and close the connections."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Accelerator {self.id} {self.type} over {self.transport}>"


def connect(
    accelerator_id: str | int | None = None,
    settings: ClientSettings | None = None,
    *,
    address: Address | None = None,
    token: str = "",
) -> Accelerator:
    """Attach to an accelerator.

    Args:
        accelerator_id: its id, or its ordinal among the visible ones; the first if None.
        settings: those of the environment if None.
        address, token: go there, without asking the instance metadata and the endpoint.

    Raises:
        NotFoundError: no accelerator is visible to this process, or not that one.
        UnavailableError: metadata service, endpoint or accelerator do not answer.
        AuthenticationError, AccessDeniedError: not with these credentials.
        ConfigurationError: a setting is wrong or missing.
    """
    settings = settings or from_environment(ClientSettings)
    if address is not None:
        grant = Grant(
            accelerator_id=accelerator_id if isinstance(accelerator_id, str) else "",
            accelerator_type="",
            address=address,
            token=token,
        )
        return Accelerator(FixedLocator(grant), settings)
    devices = attached(settings)
    device = choose(devices, accelerator_id)
    if not settings.endpoint:
        raise ConfigurationError(
            "AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME is not set.",
            next_step="Run the application under `ei run`, or set it to the pool's endpoint.",
        )
    locator = EndpointLocator(device.accelerator_id, lambda: credentials(settings), settings)
    accelerator = Accelerator(locator, settings)
    if settings.banner == "on":
        banner.show(devices, Attached(accelerator.id, accelerator.type))
    return accelerator


def visible_accelerators(settings: ClientSettings | None = None) -> tuple[Attached, ...]:
    """The accelerators that this process may use, in the order of their ordinals.

    Raises:
        UnavailableError: no metadata service answers: this is no instance.
        ConfigurationError: EI_VISIBLE_DEVICES names one that is not attached.
    """
    return attached(settings or from_environment(ClientSettings))
