"""Metrics as CloudWatch has them: of accelerators, and what users put. They are kept two weeks."""

from __future__ import annotations

from collections.abc import Sequence

from elastic_inference.control.accelerator_metrics import NAMESPACE, AcceleratorMetrics
from elastic_inference.control.clock import Clock
from elastic_inference.control.metric_recorder import Recorder
from elastic_inference.control.metric_values import KEPT, Datum, Metric, Statistics, gather
from elastic_inference.control.network import Network
from elastic_inference.control.store import Store
from elastic_inference.control.user_metrics import UserMetrics
from elastic_inference.fleet.base import Fleet

# As Elastic Inference's own metrics were shown.
PERIOD = 300
# With a value, or with any.
DimensionFilter = tuple[str, str | None]


class Metrics:
    """The metrics of a pool. Every method may be called from any thread.

    Args:
        most: metrics that an account may have put.
    """

    def __init__(
        self, store: Store, fleet: Fleet, network: Network, clock: Clock, most: int
    ) -> None:
        self.recorder = Recorder(store, fleet, network, clock)
        self._clock = clock
        self._accelerators = AcceleratorMetrics(store)
        self._users = UserMetrics(store, clock, most)

    def statistics(
        self,
        account: str,
        metric: Metric,
        since: float,
        until: float,
        *,
        period: int = PERIOD,
        unit: str | None = None,
    ) -> list[Statistics]:
        """What a metric was from `since` to before `until` (Unix times), period by period.

        Args:
            period: in seconds; the first one begins with `since`.
            unit: that of the values; all units if None, each by itself.

        Returns:
            Those of periods in which there is anything, in the order of time and of units.
        """
        oldest = max(since, self._clock.time() - KEPT)
        source = self._accelerators if metric.namespace == NAMESPACE else self._users
        found = []
        for its_unit, points in source.points(account, metric, oldest, until, unit):
            kept = (each for each in points if oldest <= each.at < until)
            found += gather(kept, its_unit, since, period)
        return sorted(found, key=lambda each: (each.at, each.unit))

    def metrics(
        self,
        account: str,
        *,
        namespace: str | None = None,
        name: str | None = None,
        dimensions: Sequence[DimensionFilter] = (),
        since: float | None = None,
    ) -> list[Metric]:
        """The metrics with such names and dimensions, sorted.

        Args:
            since: a Unix time; not those without a value since then.
        """
        oldest = self._clock.time() - KEPT
        since = oldest if since is None else max(since, oldest)
        found: list[Metric] = []
        if namespace in (None, NAMESPACE):
            found += self._accelerators.metrics(account, name, dimensions, since)
        if namespace != NAMESPACE:
            # One for all the units that it has.
            found += set(self._users.metrics(account, namespace, name, since))
        if dimensions:
            found = [each for each in found if _has(each.dimensions, dimensions)]
        return sorted(found)

    def put(self, account: str, data: Sequence[Datum]) -> None:
        """Keep values.

        Raises:
            LimitExceededError: the account has as many metrics as it may have.
        """
        self._users.put(account, data)


def _has(dimensions: Sequence[tuple[str, str]], wanted: Sequence[DimensionFilter]) -> bool:
    own = dict(dimensions)
    return all(name in own and value in (None, own[name]) for name, value in wanted)
