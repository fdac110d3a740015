"""Bills: usage times price, by what the reader asks for."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from elastic_inference.catalog import Catalog
from elastic_inference.control import schema
from elastic_inference.control.clock import Clock
from elastic_inference.control.records import Price, Usage
from elastic_inference.control.store import Store
from elastic_inference.errors import InvalidRequestError

GROUPS = ("accelerator", "instance", "type", "tag")
NO_TAG = "(none)"
_HOUR = 3600.0
_MAX_PRICE = 1_000_000.0


@dataclass(slots=True)
class Row:
    """What was used under one key.

    Attributes:
        types: the accelerator types that it was.
        running: it is still being used.
    """

    key: str
    types: set[str] = field(default_factory=set)
    seconds: float = 0.0
    cost: float = 0.0
    running: bool = False


class Prices:
    """US dollars an hour for each type, from the catalogue, with changes that have a date."""

    def __init__(self, catalog: Catalog, changes: Iterable[Price]) -> None:
        self._catalog = catalog
        self._changes: dict[str, list[tuple[float, float]]] = {}
        for each in sorted(changes, key=lambda price: price.effective_from):
            self._changes.setdefault(each.accelerator_type, []).append(
                (each.effective_from, each.price_per_hour)
            )

    def at(self, type_: str, moment: float) -> float:
        """The price of a type at a Unix time."""
        changes = self._changes.get(type_, [])
        index = bisect_right(changes, (moment, math.inf))
        return changes[index - 1][1] if index else self._of_catalogue(type_)

    def cost(self, type_: str, begin: float, end: float) -> float:
        """What the use of a type from `begin` to `end` (Unix times) costs, in US dollars."""
        moments = [begin, *(at for at, _ in self._changes.get(type_, []) if begin < at < end), end]
        return sum(
            (until - since) * self.at(type_, since) / _HOUR for since, until in pairwise(moments)
        )

    def _of_catalogue(self, type_: str) -> float:
        try:
            return self._catalog.get(type_).price_per_hour
        except InvalidRequestError:
            # Used while it was in the catalogue, which gives no price for it now.
            return 0.0


class Billing:
    """Reads bills and changes prices."""

    def __init__(self, store: Store, catalog: Catalog, clock: Clock) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock

    def prices(self) -> Prices:
        """The prices as they are set now."""
        return Prices(self._catalog, self._store.prices.where())

    def set_price(self, type_: str, per_hour: float, effective_from: float | None) -> Price:
        """Set a type's price from a Unix time on; from now on if None.

        Raises:
            InvalidRequestError: no such type, or no such price.
        """
        name = self._catalog.get(type_).name
        if not 0 <= per_hour <= _MAX_PRICE:
            raise InvalidRequestError(f"A price is from 0 to {_MAX_PRICE:.0f} US dollars an hour.")
        since = self._clock.time() if effective_from is None else effective_from
        price = Price(accelerator_type=name, effective_from=since, price_per_hour=per_hour)
        columns = self._store.prices.columns
        with self._store.transaction():
            self._store.prices.remove(
                columns.accelerator_type == name, columns.effective_from == since
            )
            self._store.prices.add(price)
        return price

    def bill(
        self,
        account: str,
        *,
        begin: float | None = None,
        end: float | None = None,
        by: str = "accelerator",
        tag: str = "",
    ) -> list[Row]:
        """What an account used from `begin` to `end` (Unix times), the most expensive first.

        Args:
            by: one of GROUPS; for `tag`, `tag` is its key.

        Raises:
            InvalidRequestError: `by` is none of them, or the times are in the wrong order.
        """
        if by not in GROUPS or (by == "tag" and not tag):
            raise InvalidRequestError(
                f"A bill is by {', '.join(GROUPS[:-1])} or tag, which needs a key."
            )
        now = self._clock.time()
        since, until = (0.0 if begin is None else begin), (now if end is None else end)
        if since > until:
            raise InvalidRequestError("The end of a bill is not before its begin.")
        columns = schema.usage.c
        found = self._store.usage.where(columns.account == account, columns.began_at < until)
        return rows(found, self.prices(), since, until, self._passed, _key_of(by, tag))

    def _passed(self, usage: Usage) -> float:
        if not usage.open or usage.boot_id != self._clock.boot:
            return usage.seconds
        return usage.seconds + max(0.0, self._clock.monotonic() - usage.mark)


def rows(
    found: Sequence[Usage],
    prices: Prices,
    since: float,
    until: float,
    passed: Callable[[Usage], float],
    key_of: Callable[[Usage], str],
) -> list[Row]:
    """The rows of a bill; see `Billing.bill`."""
    by_key: dict[str, Row] = {}
    for usage in found:
        begin, end = usage.began_at, usage.began_at + passed(usage)
        begin, end = max(begin, since), min(end, until)
        if end < begin:
            continue
        key = key_of(usage)
        row = by_key.setdefault(key, Row(key))
        row.types.add(usage.accelerator_type)
        row.seconds += end - begin
        row.cost += prices.cost(usage.accelerator_type, begin, end)
        row.running = row.running or usage.open
    return sorted(by_key.values(), key=lambda row: (-row.cost, row.key))


def _key_of(by: str, tag: str) -> Callable[[Usage], str]:
    def of_tag(usage: Usage) -> str:
        tags: Mapping[str, str] = usage.tags
        return tags.get(tag, NO_TAG)

    return {
        "accelerator": lambda usage: usage.accelerator_id,
        "instance": lambda usage: usage.instance_id,
        "type": lambda usage: usage.accelerator_type,
        "tag": of_tag,
    }[by]
