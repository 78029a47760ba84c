"""Exchange rates: 1 EUR = rate × currency."""

import datetime as dt

from sqlalchemy import ARRAY, Date, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Fine, Serial


class ExchangeRate(Base):
    __tablename__ = "exchange_rates"
    __table_args__ = (UniqueConstraint("date", "currency", name="uq_exchange_rates_date_currency"),)

    id: Mapped[Serial]
    date: Mapped[dt.date]
    currency: Mapped[str]
    rate: Mapped[Fine]


class ExchangeRateUpdate(Base):
    __tablename__ = "exchange_rate_updates"

    id: Mapped[Serial]
    start_date: Mapped[dt.date | None]
    end_date: Mapped[dt.date | None]
    currencies: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    status: Mapped[str] = mapped_column(server_default="pending")
    created_at: Mapped[Created]
    completed_at: Mapped[dt.datetime | None]
    error: Mapped[str | None]
    missing_dates: Mapped[list[dt.date] | None] = mapped_column(ARRAY(Date))
    retry_count: Mapped[int] = mapped_column(server_default="0")


class ExchangeRateError(Base):
    __tablename__ = "exchange_rate_errors"
    __table_args__ = (UniqueConstraint("date", "error_type", name="uq_exchange_rate_errors_date_error_type"),)

    id: Mapped[Serial]
    date: Mapped[dt.date]
    error_type: Mapped[str]
    created_at: Mapped[Created]
    resolved: Mapped[bool] = mapped_column(server_default=false())
    resolved_at: Mapped[dt.datetime | None]
    context: Mapped[str | None]
