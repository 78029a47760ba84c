"""Writing prices."""

from datetime import date
from typing import Any

from sqlalchemy import select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core.db import utcnow
from app.models import Etf, EtfPrice


def upsert(session: Session, rows: list[dict[str, Any]]) -> None:
    """Writes prices by their key; a row that holds the same already is not touched."""
    if not rows:
        return
    statement = insert(EtfPrice).values(rows)
    changing = [name for name in rows[0] if name not in EtfPrice.KEY]
    new = [statement.excluded[name] for name in changing]
    old = [EtfPrice.__table__.c[name] for name in changing]
    session.execute(
        statement.on_conflict_do_update(
            index_elements=EtfPrice.KEY,
            set_=dict(zip(changing, new)),
            where=tuple_(*old).is_distinct_from(tuple_(*new)),
        )
    )


def newest_day(session: Session, etf_id: str) -> date | None:
    return session.scalar(
        select(EtfPrice.date).where(EtfPrice.etf_id == etf_id).order_by(EtfPrice.date.desc()).limit(1)
    )


def set_last_price(session: Session, etf_id: str) -> None:
    """Brings etfs.last_price and last_update in line with the newest stored price."""
    newest = (
        select(EtfPrice.price)
        .where(EtfPrice.etf_id == etf_id)
        .order_by(EtfPrice.date.desc(), EtfPrice.id.desc())
        .limit(1)
    )
    session.execute(
        update(Etf).where(Etf.id == etf_id).values(last_price=newest.scalar_subquery(), last_update=utcnow())
    )
