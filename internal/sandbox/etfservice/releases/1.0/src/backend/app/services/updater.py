"""One update of one ETF, from its row in etf_updates to its prices."""

import logging
import time
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.core import db, metrics, redis
from app.core.calendar import chunks, trading_days
from app.models import DailyUpdateTracking, Etf, EtfPrice, EtfUpdate
from app.services import conversion, errors, price_source, price_store, rates

FULL_SPAN = timedelta(days=3652)
OVERLAP = timedelta(days=7)  # sources correct their newest prices
INFO = ("asset_class", "domicile", "ter", "distribution_policy")

log = logging.getLogger(__name__)


def run(update_id: int) -> str:
    """Carries out an update and returns its final status. May be called again after a crash.

    Raises OperationalError where the database is not there to record the outcome.
    """
    with db.session() as session:
        update = session.get(EtfUpdate, update_id, with_for_update=True)
        if update is None:
            log.warning("update %d does not exist any more", update_id)
            return "unknown"
        if update.status not in ("pending", "processing"):
            return update.status
        update.status = "processing"
        session.commit()
        started = time.monotonic()
        with metrics.ACTIVE.track_inprogress():
            _attempt(session, update)
        metrics.DURATION.observe(time.monotonic() - started)
        metrics.UPDATES.labels(update.status).inc()
        if update.status == "completed":
            metrics.LAST_UPDATE.set(time.time())
        redis.forget(update.etf_id)
        log.info("update %d of %s: %s", update.id, update.etf_id, update.status)
        return update.status


def _attempt(session: Session, update: EtfUpdate) -> None:
    etf_id = update.etf_id
    try:
        missing = _carry_out(session, update)
        update.status = "completed_with_errors" if missing else "completed"
        update.missing_dates = missing or None
        update.error = f"{len(missing)} days without a price" if missing else None
        errors.resolve(session, etf_id)
        for day in missing:
            errors.record(session, etf_id, "price_missing", day, f"no price for {day}")
    except OperationalError:
        raise
    except price_source.PriceSourceError as error:
        session.rollback()
        update.status, update.error = "failed", str(error)
        errors.record(session, etf_id, "api_error", datetime.now(UTC).date(), str(error))
    except Exception as error:
        session.rollback()
        log.exception("update %d of %s", update.id, etf_id)
        metrics.ERRORS.labels("internal").inc()
        update.status, update.error = "failed", f"internal error: {type(error).__name__}"
    update.completed_at = db.utcnow()
    session.commit()


def _carry_out(session: Session, update: EtfUpdate) -> list[date]:
    """Fetches and stores what the update asks for; returns the trading days that stay without a price."""
    etf = session.get_one(Etf, update.etf_id)
    if update.update_type in ("full", "info_only"):
        _fill_in(session, etf)
    if update.update_type == "info_only":
        return []
    update.start_date, update.end_date = start, end = _span(session, update, etf)
    session.commit()
    rates.ensure(session, start, end)
    missing = []
    for first, last in chunks(start, end):
        missing += _store_chunk(session, etf, first, last)
        session.commit()
    price_store.set_last_price(session, etf.id)
    newest = price_store.newest_day(session, etf.id)
    if newest:
        track_day(session, "etf_prices", newest)
    return missing


def _span(session: Session, update: EtfUpdate, etf: Etf) -> tuple[date, date]:
    """The days to fetch: as asked for, else from the first price on (full), or the newest ones only."""
    today = datetime.now(UTC).date()
    end = min(update.end_date or today, today)
    if update.start_date:
        return update.start_date, end
    first, newest = session.execute(
        select(func.min(EtfPrice.date), func.max(EtfPrice.date)).where(EtfPrice.etf_id == etf.id)
    ).one()
    beginning = first or max(etf.inception_date or date.min, today - FULL_SPAN)
    if update.update_type == "full" or newest is None:
        return beginning, end
    if update.update_type == "manual":
        return max(beginning, end - timedelta(days=365)), end
    return max(beginning, newest - OVERLAP), end


def _store_chunk(session: Session, etf: Etf, first: date, last: date) -> list[date]:
    answer = price_source.prices(etf.symbol, first, last)
    currency = answer["currency"]
    lookup = rates.Rates(session, conversion.rate_currency(currency), first, last)
    rows = []
    for quote in answer["prices"]:
        day = date.fromisoformat(quote["date"])
        rate = lookup.at(day)
        if rate is None:
            continue
        in_eur = {name: conversion.to_eur(quote[name], currency, rate) for name in ("close", "high", "low", "open")}
        price = in_eur.pop("close")
        rows.append(
            {"etf_id": etf.id, "date": day, "price": price, "currency": "EUR", **in_eur}
            | {"volume": quote["volume"], "original_currency": currency}
        )
    price_store.upsert(session, rows)
    stored = {row["date"] for row in rows}
    return [day for day in trading_days(first, last) if day not in stored]


def _fill_in(session: Session, etf: Etf) -> None:
    """Takes over what is not known of the ETF yet."""
    info = price_source.info(etf.symbol)
    for name in INFO:
        if getattr(etf, name) is None:
            setattr(etf, name, info.get(name))
    unknown = [name for name in INFO if getattr(etf, name) is None]
    if unknown:
        errors.record(session, etf.id, "info_incomplete", datetime.now(UTC).date(), "unknown: " + ", ".join(unknown))


def track_day(session: Session, update_type: str, newest: date | None = None) -> None:
    """Notes that today's data were asked for, and whether they were there."""
    today = datetime.now(UTC).date()
    statement = insert(DailyUpdateTracking).values(
        date=today, update_type=update_type, attempted=True, data_found=newest == today
    )
    found = DailyUpdateTracking.data_found | statement.excluded.data_found
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["date", "update_type"], set_={"attempted": True, "data_found": found}
        )
    )
