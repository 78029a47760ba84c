"""Prices of an ETF: read, and entered by hand."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from app.api.common import find_etf
from app.core import db, redis
from app.models import EtfPrice, as_dict
from app.services import price_store

router = APIRouter(prefix="/api/v1/etf/{etf_id}/prices")


class PriceIn(BaseModel):
    date: date
    price: float = Field(gt=0, description="EUR")
    high: float | None = Field(None, gt=0)
    low: float | None = Field(None, gt=0)
    open: float | None = Field(None, gt=0)
    volume: float | None = Field(None, ge=0)


@router.get("")
def list_prices(
    etf_id: str,
    start: date | None = None,
    end: date | None = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 250,
) -> Any:
    """The newest first."""

    def read() -> list[dict]:
        with db.session() as session:
            find_etf(session, etf_id)
            query = select(EtfPrice).where(EtfPrice.etf_id == etf_id)
            if start:
                query = query.where(EtfPrice.date >= start)
            if end:
                query = query.where(EtfPrice.date <= end)
            return [as_dict(p) for p in session.scalars(query.order_by(EtfPrice.date.desc()).limit(limit))]

    return redis.cached(f"prices:{etf_id}:{start}:{end}:{limit}", read)


@router.post("", status_code=201)
def enter_price(etf_id: str, body: PriceIn) -> Any:
    if not date(1999, 1, 1) <= body.date <= datetime.now(UTC).date():
        raise HTTPException(422, f"{body.date} is before 1999-01-01 or in the future")
    row = {"etf_id": etf_id, "currency": "EUR", **body.model_dump()}
    with db.session() as session:
        find_etf(session, etf_id)
        price_store.upsert(session, [row])
        if body.date >= price_store.newest_day(session, etf_id):
            price_store.set_last_price(session, etf_id)
        session.commit()
        key = [EtfPrice.__table__.c[name] == row[name] for name in EtfPrice.KEY]
        answer = as_dict(session.scalars(select(EtfPrice).where(*key)).one())
    redis.forget(etf_id)
    return answer
