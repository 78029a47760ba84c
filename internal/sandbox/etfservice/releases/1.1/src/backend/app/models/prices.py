"""Prices, in EUR whatever the listing's currency."""

import datetime as dt
from decimal import Decimal

from sqlalchemy import ForeignKey, Numeric, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Amount, Base, Fine, Serial


class EtfPrice(Base):
    __tablename__ = "etf_prices"
    KEY = ("etf_id", "date", "source")
    __table_args__ = (UniqueConstraint(*KEY, name="uq_etf_prices_etf_id_date_source"),)

    id: Mapped[Serial]
    etf_id: Mapped[str] = mapped_column(ForeignKey("etfs.id"))
    date: Mapped[dt.date]
    price: Mapped[Amount]
    currency: Mapped[str] = mapped_column(server_default="EUR")
    volume: Mapped[Amount | None]
    high: Mapped[Amount | None]
    low: Mapped[Amount | None]
    open: Mapped[Amount | None]
    dividends: Mapped[Fine | None]
    stock_splits: Mapped[Decimal | None] = mapped_column(Numeric(10, 6))
    capital_gains: Mapped[Fine | None]
    original_currency: Mapped[str | None]
    source: Mapped[str] = mapped_column(server_default="yfinance")
    is_adjusted: Mapped[bool] = mapped_column(server_default=false())
