"""What this MXNet was built with, as scripts ask for it."""

from __future__ import annotations

from dataclasses import dataclass

_ENABLED = ("CPU_SSE", "F16C", "OPENCV")
_DISABLED = ("CUDA", "CUDNN", "NCCL", "TENSORRT", "MKLDNN", "DIST_KVSTORE", "INT64_TENSOR_SIZE")


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that may be built in."""

    name: str
    enabled: bool


class Features(dict[str, Feature]):
    """All of them, by name."""

    def __init__(self) -> None:
        super().__init__()
        for name in (*_ENABLED, *_DISABLED):
            self[name] = Feature(name, name in _ENABLED)

    def is_enabled(self, feature_name: str) -> bool:
        """Whether it is there; what is not known is not."""
        found = self.get(feature_name.upper())
        return found is not None and found.enabled


def feature_list() -> list[Feature]:
    return list(Features().values())
