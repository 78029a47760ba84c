"""Stored exchange rates: brought up to date, and looked up."""

from bisect import bisect_right
from datetime import date, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core.calendar import chunks, trading_days
from app.models import ExchangeRate
from app.services import price_source

TRACKED = ("USD", "CHF", "GBP", "JPY", "CAD", "AUD", "SEK", "DKK", "NOK", "SGD", "HKD")


def fetch(session: Session, start: date, end: date) -> list[date]:
    """Stores the rates of a span; returns the trading days without any."""
    found = set()
    for first, last in chunks(start, end):
        rows = [
            {"date": date.fromisoformat(r["date"]), "currency": r["currency"], "rate": r["rate"]}
            for r in price_source.rates(first, last)
            if r["currency"] in TRACKED
        ]
        if rows:
            statement = insert(ExchangeRate)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=["date", "currency"],
                    set_={"rate": statement.excluded.rate},
                    where=ExchangeRate.rate.is_distinct_from(statement.excluded.rate),
                ),
                rows,
            )
        session.commit()
        found.update(row["date"] for row in rows)
    return [day for day in trading_days(start, end) if day not in found]


def ensure(session: Session, start: date, end: date) -> None:
    """Fetches the rates that are missing before the first and after the last stored one."""
    first, last = session.execute(select(func.min(ExchangeRate.date), func.max(ExchangeRate.date))).one()
    if first is None:
        spans = [(start - timedelta(7), end)]
    else:
        spans = [(start - timedelta(7), first - timedelta(1))] if start < first else []
        spans.append((last + timedelta(1), end))
    for since, until in spans:
        if any(trading_days(since, until)):
            fetch(session, since, until)


class Rates:
    """The rates of one currency from a day on; without one for a day, the nearest earlier counts."""

    def __init__(self, session: Session, currency: str, start: date, end: date):
        before = select(func.max(ExchangeRate.date)).where(
            ExchangeRate.currency == currency, ExchangeRate.date <= start
        )
        rows = session.execute(
            select(ExchangeRate.date, ExchangeRate.rate)
            .where(
                ExchangeRate.currency == currency,
                ExchangeRate.date >= func.coalesce(before.scalar_subquery(), start),
                ExchangeRate.date <= end,
            )
            .order_by(ExchangeRate.date)
        ).all()
        self.currency = currency
        self.days = [row.date for row in rows]
        self.values = [float(row.rate) for row in rows]

    def at(self, day: date) -> float | None:
        if self.currency == "EUR":
            return 1.0
        index = bisect_right(self.days, day)
        return self.values[index - 1] if index else None
