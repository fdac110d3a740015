"""Labels of versions."""

from __future__ import annotations

from collections.abc import Mapping

from elastic_inference.errors import ConflictError, InvalidRequestError
from elastic_inference.serving.config import ModelServerConfig
from elastic_inference.serving.lifecycle import Model
from elastic_inference.serving.service import AVAILABLE


class Labels:
    """Versions by model and label."""

    def __init__(self, *, allows_unavailable: bool) -> None:
        self._allows_unavailable = allows_unavailable
        self._versions: Mapping[tuple[str, str], int] = {}

    def version(self, model: str, label: str) -> int:
        """The version that bears the label.

        Raises:
            InvalidRequestError: none does.
        """
        try:
            return self._versions[model, label]
        except KeyError:
            raise InvalidRequestError(f"Unrecognized servable version label: {label}") from None

    def renew(self, config: ModelServerConfig, models: Mapping[str, Model]) -> None:
        """Take the labels of a configuration.

        Raises:
            ConflictError: one is for a version that is not available; all stay as they were.
        """
        renewed = {
            (model.name, label): version
            for model in config.models
            for label, version in model.labels.items()
        }
        for (name, label), version in renewed.items():
            if self._allows_unavailable and self._versions.get((name, label), version) == version:
                continue
            if not _is_available(models.get(name), version):
                raise ConflictError(
                    f"Request to assign label to version {version} of model {name}, which is "
                    "not currently available for inference",
                    next_step="Label it when it is, or allow it with "
                    "--allow_version_labels_for_unavailable_models.",
                )
        self._versions = renewed


def _is_available(model: Model | None, version: int) -> bool:
    if model is None:
        return False
    found = model.versions.get(version)
    return found is not None and found.state == AVAILABLE
