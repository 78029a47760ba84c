"""Keeps in task_status what each task did, and when: the evidence that the timetable is kept."""

import logging

from celery import Task, signals
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from app.core import db
from app.models import TaskStatus

log = logging.getLogger(__name__)


def _execute(statement) -> None:
    try:
        with db.engine().begin() as connection:
            connection.execute(statement)
    except SQLAlchemyError as error:  # the task matters more than its record
        log.warning("task status not recorded: %s", type(error).__name__)


@signals.task_prerun.connect
def _started(task_id: str, task: Task, **_) -> None:
    values = {"status": "STARTED", "started_at": db.utcnow(), "finished_at": None, "detail": None}
    _execute(
        insert(TaskStatus)
        .values(task_id=task_id, task_name=task.name, **values)
        .on_conflict_do_update(index_elements=["task_id"], set_=values)
    )


@signals.task_postrun.connect
def _ended(task_id: str, retval, state: str | None, **_) -> None:
    _execute(
        update(TaskStatus)
        .where(TaskStatus.task_id == task_id)
        .values(status=state or "UNKNOWN", finished_at=db.utcnow(), detail=str(retval)[:500])
    )
