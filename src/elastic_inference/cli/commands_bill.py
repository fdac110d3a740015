"""Commands about use and its price."""

from __future__ import annotations

from elastic_inference.cli.commands import Commands, add_output, add_watch

_BILL_DESCRIPTION = """\
What was used, and what it costs: each second in which an instance ran and its accelerator was
healthy. Times are 2026-11-01, 2026-11-01T10:00, Unix seconds, or 2h, 30min or 7d ago; those
without a time zone are this machine's.
"""
_BILL_EXAMPLES = """\
examples:
  ei bill                                  all that was ever used, by accelerator
  ei bill --by instance --from 7d
  ei bill --by tag:team --from 2026-11-01 --to 2026-12-01 -o csv
"""
_PRICE_DESCRIPTION = """\
Prices are US dollars per hour. They come from the catalogue, and may be changed from a time on.
"""
_PRICE_EXAMPLES = """\
examples:
  ei price list
  ei price set eia1.medium 0.10
  ei price set eia1.medium 0.12 --from 2026-12-01
"""
_TIME = "2026-11-01, 2026-11-01T10:00, Unix seconds, or 2h ago"


def add_to(commands: Commands) -> None:
    """Add them."""
    bill = commands.add("bill", "see what was used and its cost", _BILL_DESCRIPTION, _BILL_EXAMPLES)
    bill.add_argument(
        "--by", default="accelerator", metavar="WHAT",
        help="accelerator, instance, type or tag:KEY (default: accelerator)",
    )  # fmt: skip
    bill.add_argument("--from", dest="begin", metavar="TIME", help=f"its begin: {_TIME}")
    bill.add_argument("--to", dest="end", metavar="TIME", help="its end (default: now)")
    add_watch(bill)
    add_output(bill, "csv")
    price = commands.group("price", "see and set prices", _PRICE_DESCRIPTION, _PRICE_EXAMPLES)
    list_ = price.add("list", "list prices and when they began", examples=_PRICE_EXAMPLES)
    add_output(list_)
    set_ = price.add("set", "set a type's price", examples=_PRICE_EXAMPLES)
    set_.add_argument("type", metavar="TYPE", help="an accelerator type (ei describe types)")
    set_.add_argument("price", type=float, metavar="USD_PER_HOUR", help="US dollars per hour")
    set_.add_argument(
        "--from", dest="begin", metavar="TIME", help=f"from then on: {_TIME} (default: now)"
    )
