"""The Celery application and its timetable (UTC)."""

import os

from celery import Celery, signals
from celery.schedules import crontab

from app.core import db, logs, metrics
from app.core.config import settings

celery = Celery(
    "etf",
    broker=settings().broker_url,
    backend=settings().result_backend,
    include=[
        "app.tasks.etf",
        "app.tasks.exchange_rates",
        "app.tasks.contributions",
        "app.tasks.maintenance",
        "app.tasks.tracking",
    ],
)

celery.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    enable_utc=True,
    task_track_started=True,
    task_ignore_result=True,  # outcomes are kept in etf_updates and task_status
    task_acks_late=True,  # tasks may run twice, so a worker that dies loses none
    task_reject_on_worker_lost=True,
    task_soft_time_limit=120,
    task_time_limit=140,  # below the time that a stop waits for a running task
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=4,
)


def _daily(task: str, hour: int, minute: int = 0) -> dict:
    return {"task": f"app.tasks.{task}", "schedule": crontab(hour=hour, minute=minute), "options": {"expires": 43200}}


celery.conf.beat_schedule = {
    "update-exchange-rates": _daily("exchange_rates.update_exchange_rates", 16, 30),
    "update-etf-prices": _daily("etf.update_all_etfs", 20),
    "process-contributions": _daily("contributions.process_contributions", 21),
    "clean-up-task-status": _daily("maintenance.clean_up_task_status", 0),
    "clean-up-etf-updates": _daily("maintenance.clean_up_etf_updates", 1),
    "retry-failed-updates": _daily("etf.retry_failed_updates", 2),
}


@signals.setup_logging.connect
def _configure_logging(**_) -> None:
    logs.configure()


@signals.worker_process_init.connect
def _child_started(**_) -> None:
    db.engine().dispose(close=False)  # connections belong to the process that forked this one
    metrics.forget_process(os.getpid())  # what an earlier process of this number left
    metrics.forget_dead_processes()


@signals.worker_process_shutdown.connect
def _child_ends(pid: int, **_) -> None:
    metrics.forget_process(pid)
