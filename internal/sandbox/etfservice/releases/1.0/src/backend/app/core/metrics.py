"""Metrics of the service; with PROMETHEUS_MULTIPROC_DIR set, summed up over all its processes."""

import os
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

def _folder() -> str | None:
    return os.environ.get("PROMETHEUS_MULTIPROC_DIR")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def forget_process(pid: int) -> None:
    """Takes the live gauges of a process out of the sums; its counters stay."""
    try:
        if _folder():
            mark_process_dead(pid)
    except FileNotFoundError:  # another process was faster
        pass


forget_process(os.getpid())  # what an earlier process of this number left

UPDATES = Counter("etf_updates_total", "ETF updates that ended, by outcome", ["status"])
DURATION = Histogram(
    "etf_update_duration_seconds",
    "Time spent on an ETF update",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
ACTIVE = Gauge("etf_active_updates", "ETF updates running now", multiprocess_mode="livesum")
ERRORS = Counter("etf_errors_total", "Errors in ETF updates, by kind", ["error_type"])
LAST_UPDATE = Gauge(
    "etf_last_update_timestamp", "When an ETF update last succeeded, Unix seconds", multiprocess_mode="max"
)

# A series that is born at its first event hides that event from rate().
for status in ("completed", "completed_with_errors", "failed"):
    UPDATES.labels(status)
for error_type in ("price_missing", "info_incomplete", "api_error", "internal"):
    ERRORS.labels(error_type)


def forget_dead_processes() -> None:
    folder = _folder()
    for path in Path(folder).glob("gauge_live*_*.db") if folder else ():
        pid = int(path.stem.rpartition("_")[2])
        if not _alive(pid):
            forget_process(pid)


def exposition() -> bytes:
    if not _folder():
        return generate_latest(REGISTRY)
    forget_dead_processes()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
