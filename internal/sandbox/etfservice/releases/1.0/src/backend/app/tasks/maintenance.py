"""Clean-ups of what nobody looks at any more."""

from datetime import timedelta

from sqlalchemy import delete

from app.core import db
from app.core.celery_app import celery
from app.models import EtfError, EtfUpdate, TaskStatus


@celery.task
def clean_up_task_status() -> int:
    with db.session() as session:
        old = delete(TaskStatus).where(TaskStatus.started_at < db.utcnow() - timedelta(days=30))
        deleted = session.execute(old).rowcount
        session.commit()
        return deleted


@celery.task
def clean_up_etf_updates() -> int:
    """Removes ended updates and resolved errors after 90 days."""
    limit = db.utcnow() - timedelta(days=90)
    with db.session() as session:
        updates = delete(EtfUpdate).where(EtfUpdate.completed_at < limit)
        resolved = delete(EtfError).where(EtfError.resolved, EtfError.resolved_at < limit)
        deleted = session.execute(updates).rowcount + session.execute(resolved).rowcount
        session.commit()
        return deleted
