"""The record of what was missing or went wrong."""

import logging
from datetime import date

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core import metrics
from app.core.db import utcnow
from app.models import EtfError, EtfPrice

log = logging.getLogger(__name__)


def record(session: Session, etf_id: str, error_type: str, day: date, context: str) -> None:
    metrics.ERRORS.labels(error_type).inc()
    log.warning("%s: %s: %s", etf_id, error_type, context)
    session.execute(
        insert(EtfError)
        .values(etf_id=etf_id, error_type=error_type, date=day, context=context)
        .on_conflict_do_update(
            index_elements=["etf_id", "error_type", "date"],
            set_={"resolved": False, "resolved_at": None, "context": context},
        )
    )


def resolve(session: Session, etf_id: str) -> None:
    """Closes what a successful update has shown to be over."""
    filled = select(EtfPrice.date).where(EtfPrice.etf_id == etf_id)
    session.execute(
        update(EtfError)
        .where(
            EtfError.etf_id == etf_id,
            EtfError.resolved.is_(False),
            (EtfError.error_type == "api_error") | EtfError.date.in_(filled),
        )
        .values(resolved=True, resolved_at=utcnow())
    )
