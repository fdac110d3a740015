"""Access to one table, a record for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Row,
    Table,
    UnaryExpression,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql.elements import BindParameter

from elastic_inference.control.database import Database

T = TypeVar("T")
Order = ColumnElement[Any] | UnaryExpression[Any]


class Records(Generic[T]):
    """The rows of a table as records, dataclasses whose fields are the table's columns."""

    def __init__(self, database: Database, table: Table, record: type[T]) -> None:
        self.columns = table.c
        self._database = database
        self._table = table
        self._record = record
        self._names = [each.name for each in fields(record)]  # type: ignore[arg-type]  # a dataclass
        # JSON has lists alone.
        self._tuples = [
            index
            for index, each in enumerate(fields(record))  # type: ignore[arg-type]  # a dataclass
            if str(each.type).startswith("tuple")
        ]
        self._all = select(*(table.c[name] for name in self._names))
        keys = list(table.primary_key.columns)
        self._by_key = self._all.where(*(key == BindParameter(f"key_{key.name}") for key in keys))
        self._keys = keys

    def add(self, record: T) -> None:
        """Add one.

        Raises:
            ConflictError: there is one with that key already.
        """
        values = {name: getattr(record, name) for name in self._names}
        if values.get("id", "") is None:
            del values["id"]
        self._database.change(insert(self._table), values)

    def get(self, *key: str) -> T | None:
        """The one with that primary key."""
        names = (f"key_{column.name}" for column in self._keys)
        rows = self._database.rows(self._by_key, dict(zip(names, key, strict=True)))
        return self._read(rows[0]) if rows else None

    def where(
        self,
        *conditions: ColumnElement[bool],
        order: Sequence[Order] = (),
        limit: int | None = None,
    ) -> list[T]:
        """Those that meet all conditions."""
        query = self._all.where(*conditions).order_by(*order)
        if limit is not None:
            query = query.limit(limit)
        return [self._read(row) for row in self._database.rows(query)]

    def first(self, *conditions: ColumnElement[bool], order: Sequence[Order] = ()) -> T | None:
        """One of those that meet all conditions."""
        found = self.where(*conditions, order=order, limit=1)
        return found[0] if found else None

    def count(self, *conditions: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(self._table).where(*conditions)
        return int(self._database.rows(query)[0][0])

    def change(self, *conditions: ColumnElement[bool], **values: Any) -> int:
        """Set columns of those that meet all conditions; how many that were."""
        return self._database.change(update(self._table).where(*conditions).values(**values))

    def remove(self, *conditions: ColumnElement[bool]) -> int:
        """Remove those that meet all conditions; how many that were."""
        return self._database.change(delete(self._table).where(*conditions))

    def _read(self, row: Row[Any]) -> T:
        values = list(row)
        for index in self._tuples:
            values[index] = tuple(values[index])
        return self._record(**dict(zip(self._names, values, strict=True)))
