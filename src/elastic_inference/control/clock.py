"""The clocks of the control plane, which tests set by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from elastic_inference.protocol.host import boot_id


@dataclass(frozen=True, slots=True)
class Clock:
    """Time of day for people, and time that passes for bills and waits.

    Attributes:
        boot: whose monotonic time it is: every process of a boot sees the same one.
    """

    boot: str = field(default_factory=boot_id)

    def time(self) -> float:
        """Unix seconds; somebody may set them forward or back."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only grow, as long as the machine is up."""
        return time.monotonic()
