"""The daily exchange rates."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from app.core import db
from app.core.celery_app import celery
from app.models import ExchangeRate, ExchangeRateError, ExchangeRateUpdate
from app.services import rates
from app.services.price_source import PriceSourceError
from app.services.updater import track_day
from app.tasks.etf import put_off_while_paused


@celery.task(bind=True, max_retries=None)
def update_exchange_rates(self) -> str:
    """Fetches the rates since the newest stored one, that day included."""
    put_off_while_paused(self)
    today = datetime.now(UTC).date()
    with db.session() as session:
        newest = session.scalar(select(func.max(ExchangeRate.date))) or today - timedelta(days=90)
        row = ExchangeRateUpdate(
            start_date=newest, end_date=today, currencies=list(rates.TRACKED), status="processing"
        )
        session.add(row)
        session.commit()
        try:
            missing = rates.fetch(session, newest, today)
            row.status = "completed_with_errors" if missing else "completed"
            row.missing_dates = missing or None
        except PriceSourceError as error:
            session.rollback()
            row.status, row.error = "failed", str(error)
            session.execute(
                insert(ExchangeRateError)
                .values(date=today, error_type="api_error", context=str(error))
                .on_conflict_do_nothing()
            )
        row.completed_at = db.utcnow()
        track_day(session, "exchange_rates", session.scalar(select(func.max(ExchangeRate.date))))
        session.commit()
        return row.status
