"""What all models share."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from sqlalchemy import Numeric, text
from sqlalchemy.orm import DeclarativeBase, mapped_column

Amount = Annotated[Decimal, mapped_column(Numeric(20, 2))]
Fine = Annotated[Decimal, mapped_column(Numeric(20, 6))]
Ratio = Annotated[Decimal, mapped_column(Numeric(10, 4))]
Serial = Annotated[int, mapped_column(primary_key=True)]
Created = Annotated[datetime, mapped_column(server_default=text("(now() AT TIME ZONE 'utc')"))]


class Base(DeclarativeBase):
    pass


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):  # datetime too
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def as_dict(row: Base) -> dict[str, Any]:
    """A row as JSON can hold it, one entry a column."""
    return {column.key: _plain(getattr(row, column.key)) for column in row.__mapper__.column_attrs}
