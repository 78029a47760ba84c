"""Is this process able to serve?"""

from fastapi import APIRouter, Response
from redis import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app import __version__
from app.core import db, metrics
from app.core.config import settings
from app.core.redis import client

router = APIRouter()


def _database() -> str:
    try:
        with db.engine().connect() as connection:
            connection.execute(text("SELECT 1"))
        return "ok"
    except SQLAlchemyError as error:
        return f"unreachable: {type(error).__name__}"


def _redis() -> str:
    try:
        client().ping()
        return "ok"
    except RedisError as error:
        return f"unreachable: {type(error).__name__}"


@router.get("/api/v1/etf/health")
def health(response: Response) -> dict:
    parts = {"database": _database(), "redis": _redis()}
    well = set(parts.values()) == {"ok"}
    response.status_code = 200 if well else 503
    return {
        "status": "ok" if well else "error",
        "release": settings().release,
        "version": __version__,
        **parts,
    }


@router.get("/metrics")
def all_metrics() -> Response:
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
