"""ETFs."""

import datetime as dt

from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Amount, Base, Ratio


class Etf(Base):
    __tablename__ = "etfs"

    id: Mapped[str] = mapped_column(primary_key=True)
    isin: Mapped[str]
    symbol: Mapped[str]
    name: Mapped[str]
    currency: Mapped[str]
    asset_class: Mapped[str | None]
    domicile: Mapped[str | None]
    inception_date: Mapped[dt.date | None]
    fund_size: Mapped[Amount | None]
    ter: Mapped[Ratio | None]
    distribution_policy: Mapped[str | None]
    last_price: Mapped[Amount | None]
    last_update: Mapped[dt.datetime | None]
    ytd_return: Mapped[Ratio | None]
    one_year_return: Mapped[Ratio | None]
    volatility_30d: Mapped[Ratio | None]
    sharpe_ratio: Mapped[Ratio | None]
