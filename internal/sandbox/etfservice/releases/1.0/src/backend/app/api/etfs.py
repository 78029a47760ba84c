"""ETFs: list, one, create."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.api.common import find_etf
from app.core import db, redis
from app.models import Etf, as_dict

router = APIRouter(prefix="/api/v1/etf")


class EtfIn(BaseModel):
    id: str = Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._=^-]+$")
    isin: str = Field(pattern=r"^[A-Z]{2}[A-Z0-9]{9}[0-9]$")
    symbol: str | None = Field(None, min_length=1, max_length=40)
    name: str = Field(min_length=1)
    currency: str = Field(pattern=r"^[A-Z]{2}[A-Zp]$")
    asset_class: str | None = None
    domicile: str | None = None
    inception_date: date | None = None
    distribution_policy: str | None = None


@router.get("")
def list_etfs(skip: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Any:
    def read() -> list[dict]:
        with db.session() as session:
            return [as_dict(e) for e in session.scalars(select(Etf).order_by(Etf.id).offset(skip).limit(limit))]

    return redis.cached(f"list:{skip}:{limit}", read)


@router.get("/{etf_id}")
def get_etf(etf_id: str) -> Any:
    def read() -> dict:
        with db.session() as session:
            return as_dict(find_etf(session, etf_id))

    return redis.cached(f"etf:{etf_id}", read)


@router.post("", status_code=201)
def create_etf(body: EtfIn) -> Any:
    with db.session() as session:
        etf = Etf(**body.model_dump() | {"symbol": body.symbol or body.id})
        session.add(etf)
        try:
            session.commit()
        except IntegrityError as error:
            raise HTTPException(409, f"an ETF with the id {body.id} exists already") from error
        answer = as_dict(etf)
    redis.forget(body.id)
    return answer
