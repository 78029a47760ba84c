"""What the endpoints share."""

from fastapi import HTTPException
from sqlalchemy.orm import Session

from app.models import Etf


def find_etf(session: Session, etf_id: str) -> Etf:
    etf = session.get(Etf, etf_id)
    if etf is None:
        raise HTTPException(404, f"no ETF with the id {etf_id}")
    return etf
