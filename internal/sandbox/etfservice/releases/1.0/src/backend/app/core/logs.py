"""Logging: one line of JSON for each record, in one file that all processes share, and on standard error."""

import logging
import os
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler

from celery import current_task
from pythonjsonlogger.json import JsonFormatter

from app.core.config import settings


class Formatter(JsonFormatter):
    """time, level, logger, message, release; exception and task_id where there is one."""

    def add_fields(self, log_data, record, message_dict):
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.getMessage()
        log_data["release"] = settings().release
        exception = message_dict.pop("exc_info", None) or record.exc_text
        if exception:
            log_data["exception"] = exception
        if current_task and current_task.request.id:
            log_data["task_id"] = current_task.request.id


class LineHandler(WatchedFileHandler):
    """Appends each line in one unbuffered write, so that lines of several processes never mix."""

    def _open(self):
        return open(self.baseFilename, "ab", buffering=0)

    def emit(self, record):
        try:
            self.reopenIfNeeded()
            self.stream.write((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:
            self.handleError(record)


def configure() -> None:
    folder = settings().log_dir
    folder.mkdir(parents=True, exist_ok=True)
    handlers = [LineHandler(os.fspath(folder / "etf_service.log")), logging.StreamHandler()]
    for handler in handlers:
        handler.setFormatter(Formatter())
    logging.basicConfig(level=settings().log_level, handlers=handlers, force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
