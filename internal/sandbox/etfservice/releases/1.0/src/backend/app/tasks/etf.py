"""Updates of ETFs."""

import uuid
from datetime import timedelta

from celery import Task
from redis import RedisError
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.core import db
from app.core.celery_app import celery
from app.core.redis import updates_paused
from app.models import Etf, EtfUpdate
from app.services import updater

PUT_OFF_SECONDS = 15
MAX_RETRIES = 3


def put_off_while_paused(task: Task) -> None:
    """Ends this attempt and queues the next one while updates are paused, or where that cannot be known."""
    try:
        reason = "updates are paused" if updates_paused() else None
    except RedisError as error:
        reason = f"redis does not answer: {type(error).__name__}"
    if reason:
        raise task.retry(exc=RuntimeError(reason), countdown=PUT_OFF_SECONDS)


@celery.task(bind=True, max_retries=None)
def update_etf(self, update_id: int) -> str:
    put_off_while_paused(self)
    try:
        return updater.run(update_id)
    except OperationalError as error:
        raise self.retry(exc=error, countdown=PUT_OFF_SECONDS)


def start(update_id: int) -> str:
    """Queues an update whose row is committed; returns the task's id."""
    task_id = str(uuid.uuid4())
    update_etf.apply_async((update_id,), task_id=task_id)
    return task_id


@celery.task(bind=True, max_retries=None)
def update_all_etfs(self) -> int:
    put_off_while_paused(self)
    with db.session() as session:
        updates = [EtfUpdate(etf_id=i, update_type="prices_only") for i in session.scalars(select(Etf.id))]
        session.add_all(updates)
        updater.track_day(session, "etf_prices")
        session.commit()
        ids = [update.id for update in updates]
    for update_id in ids:
        start(update_id)
    return len(ids)


@celery.task(bind=True, max_retries=None)
def retry_failed_updates(self) -> int:
    put_off_while_paused(self)
    with db.session() as session:
        failed = session.scalars(
            select(EtfUpdate)
            .where(
                EtfUpdate.status == "failed",
                EtfUpdate.retry_count < MAX_RETRIES,
                EtfUpdate.created_at > db.utcnow() - timedelta(days=3),
            )
            .with_for_update(skip_locked=True)
        ).all()
        for update in failed:
            update.status, update.error, update.completed_at = "pending", None, None
            update.retry_count += 1
        ids = [update.id for update in failed]
        session.commit()
    for update_id in ids:
        start(update_id)
    return len(ids)
