"""Database sessions of the service."""

from datetime import UTC, datetime
from functools import cache

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from app.core.config import database_url


@cache
def engine() -> Engine:
    return create_engine(
        database_url(),
        pool_size=3,
        max_overflow=2,
        pool_timeout=10,
        pool_pre_ping=True,  # a database that was restarted or swapped costs no failed request
        connect_args={"application_name": "etf_service", "connect_timeout": 5},
    )


def session() -> Session:
    return Session(engine())


def utcnow() -> datetime:
    """Now as the database holds it: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
