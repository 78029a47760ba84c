"""A Celery application that is as small as the tests allow."""
import os
import time
from datetime import timedelta

from celery import Celery
from celery.schedules import crontab

app = Celery(
    "etf",
    broker=os.environ["CELERY_BROKER_URL"],
    backend=os.environ.get("CELERY_RESULT_BACKEND", "rpc://"),
)
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    task_track_started=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=3,
    beat_schedule={
        "rates": {"task": "app.tasks.nap", "schedule": crontab(hour=16, minute=30), "args": (0,)},
        "workdays": {"task": "app.tasks.nap", "schedule": crontab(hour="2,14", minute="*/15", day_of_week="mon-fri")},
        "often": {"task": "app.tasks.nap", "schedule": timedelta(minutes=5), "options": {"expires": 60}},
        "daily": {"task": "app.tasks.nap", "schedule": timedelta(days=1)},
        "seconds": {"task": "app.tasks.nap", "schedule": 30.0},
    },
    broker_transport_options={"max_retries": 1, "socket_connect_timeout": 3, "global_keyprefix": os.environ.get("KEYPREFIX", "")},
)

# What an application's start may well print must not spoil an answer.
print("[app] loading {not json}")


@app.task(name="app.tasks.nap")
def nap(seconds):
    time.sleep(seconds)
    return seconds
