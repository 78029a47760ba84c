"""A Celery application that is as small as the tests allow."""
import os
import time

from celery import Celery

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
    broker_transport_options={"max_retries": 1, "socket_connect_timeout": 3},
)

# What an application's start may well print must not spoil an answer.
print("[app] loading {not json}")


@app.task(name="app.tasks.nap")
def nap(seconds):
    time.sleep(seconds)
    return seconds
