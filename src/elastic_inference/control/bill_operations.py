"""Operations on bills and prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from elastic_inference.control.billing import Row
from elastic_inference.control.caller import Caller, number, required, text
from elastic_inference.control.documents import Document
from elastic_inference.control.plane import ControlPlane
from elastic_inference.errors import InvalidRequestError

_LATEST = 1e11


class BillOperations:
    """What was used, and at what price."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Mapping[str, Callable[[Document, Caller], Document]] = {
            "GetBill": self._bill,
            "SetPrice": self._set_price,
            "DescribePrices": self._prices,
        }

    def _bill(self, document: Document, caller: Caller) -> Document:
        begin = number(document, "from", 0, _LATEST)
        end = number(document, "to", 0, _LATEST)
        by = text(document, "groupBy") or "accelerator"
        found = self._plane.billing.bill(
            caller.account, begin=begin, end=end, by=by, tag=text(document, "tagKey") or ""
        )
        return {
            "from": begin,
            "to": self._plane.clock.time() if end is None else end,
            "groupBy": by,
            "currency": "USD",
            "rows": [_describe(each) for each in found],
            "totalSeconds": sum(each.seconds for each in found),
            "totalCost": sum(each.cost for each in found),
        }

    def _set_price(self, document: Document, caller: Caller) -> Document:
        del caller
        per_hour = number(document, "pricePerHour", 0, 1e6)
        if per_hour is None:
            raise InvalidRequestError("pricePerHour is missing.")
        price = self._plane.billing.set_price(
            required(document, "acceleratorType"),
            per_hour,
            number(document, "effectiveFrom", 0, _LATEST),
        )
        return {
            "acceleratorType": price.accelerator_type,
            "pricePerHour": price.price_per_hour,
            "effectiveFrom": price.effective_from,
        }

    def _prices(self, document: Document, caller: Caller) -> Document:
        del document, caller
        columns = self._plane.store.prices.columns
        changes = self._plane.store.prices.where(
            order=(columns.accelerator_type, columns.effective_from)
        )
        return {
            "prices": [
                {
                    "acceleratorType": each.name,
                    "pricePerHour": each.price_per_hour,
                    "effectiveFrom": None,
                }
                for each in self._plane.catalog.types
            ]
            + [
                {
                    "acceleratorType": each.accelerator_type,
                    "pricePerHour": each.price_per_hour,
                    "effectiveFrom": each.effective_from,
                }
                for each in changes
            ]
        }


def _describe(row: Row) -> Document:
    return {
        "key": row.key,
        "types": sorted(row.types),
        "seconds": row.seconds,
        "cost": row.cost,
        "running": row.running,
    }
