"""Updates of an ETF: start one, see the recent ones."""

import logging
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from redis import RedisError
from sqlalchemy import select

from app.api.common import find_etf
from app.core import db
from app.core.redis import PAUSE_FLAG, updates_paused
from app.models import EtfUpdate, as_dict
from app.tasks.etf import start as start_update

# What the API calls it → what etf_updates calls it.
TYPES = {"full": "full", "prices_only": "prices_only", "prices_refresh": "manual"}

log = logging.getLogger(__name__)
router = APIRouter(prefix="/api/v1/etf")


def _refuse_while_paused() -> None:
    try:
        paused = updates_paused()
    except RedisError as error:
        raise HTTPException(503, "redis does not answer: whether updates are paused is not known") from error
    if paused:
        raise HTTPException(409, f"updates are paused: {PAUSE_FLAG} is set")


@router.post("/{etf_id}/update", status_code=202)
def update_etf(
    etf_id: str,
    update_type: Literal["full", "prices_only", "prices_refresh"] = "full",
    start_date: date | None = None,
    end_date: date | None = None,
    notes: str | None = None,
) -> Any:
    _refuse_while_paused()
    with db.session() as session:
        find_etf(session, etf_id)
        update = EtfUpdate(etf_id=etf_id, update_type=TYPES[update_type], notes=notes)
        update.start_date, update.end_date = start_date, end_date
        session.add(update)
        session.commit()  # the worker may be faster than this answer
        try:
            task_id = start_update(update.id)
        except Exception as error:  # whatever it was: no row may stay pending without a task
            log.error("update %d of %s not queued: %s", update.id, etf_id, type(error).__name__)
            update.status, update.error, update.completed_at = "failed", "the broker does not answer", db.utcnow()
            session.commit()
            raise HTTPException(503, "the broker does not answer") from error
        return {
            "message": f"update of {etf_id} started",
            "task_id": task_id,
            "update_id": update.id,
            "status": "pending",
        }


@router.get("/updates")
def list_updates(
    status: Literal["pending", "processing", "completed", "completed_with_errors", "failed"],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Any:
    """Updates of all ETFs in one status, the newest first."""
    with db.session() as session:
        query = select(EtfUpdate).where(EtfUpdate.status == status).order_by(EtfUpdate.created_at.desc())
        return [as_dict(update) for update in session.scalars(query.limit(limit))]


@router.get("/{etf_id}/status")
def status(etf_id: str) -> Any:
    """The twenty newest updates."""
    with db.session() as session:
        find_etf(session, etf_id)
        query = select(EtfUpdate).where(EtfUpdate.etf_id == etf_id).order_by(EtfUpdate.created_at.desc())
        return [as_dict(update) for update in session.scalars(query.limit(20))]
