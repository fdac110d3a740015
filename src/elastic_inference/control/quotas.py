"""How much of something an account may have."""

from __future__ import annotations

from typing import Any

from elastic_inference.control.tables import Records
from elastic_inference.errors import LimitExceededError


def check_quota(table: Records[Any], account: str, quota: str, most: int) -> None:
    """Refuse one more than there may be; in a transaction of the caller's.

    Raises:
        LimitExceededError: in AWS's words.
    """
    if table.count(table.columns.account == account) >= most:
        raise LimitExceededError(
            f"Cannot exceed quota for {quota}: {most}", next_step="Delete one that is not needed."
        )
