"""Redis: the cache of API answers, and the flag that pauses updates."""

import json
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from redis import Redis, RedisError

from app.core.config import settings

CACHE_PREFIX = "etf:cache:"
CACHE_SECONDS = 300
PAUSE_FLAG = "etf_updates_paused"

log = logging.getLogger(__name__)


@cache
def client() -> Redis:
    return Redis.from_url(
        settings().redis_url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True
    )


def updates_paused() -> bool:
    """While the flag exists no update may start. Raises RedisError where that cannot be known."""
    return bool(client().exists(PAUSE_FLAG))


def cached(key: str, produce: Callable[[], Any]) -> Any:
    """The value kept under the key, or a new one. The service answers without Redis too."""
    try:
        kept = client().get(CACHE_PREFIX + key)
        if kept is not None:
            return json.loads(kept)
    except RedisError as error:
        log.warning("cache not readable: %s", type(error).__name__)
    value = produce()
    try:
        client().set(CACHE_PREFIX + key, json.dumps(value), ex=CACHE_SECONDS)
    except RedisError as error:
        log.warning("cache not writable: %s", type(error).__name__)
    return value


def forget(etf_id: str) -> None:
    """Drops what is kept of an ETF, and the lists that it may stand in."""
    try:
        for pattern in (f"etf:{etf_id}", f"prices:{etf_id}:*", "list:*"):
            for key in client().scan_iter(CACHE_PREFIX + pattern, count=500):
                client().unlink(key)
    except RedisError as error:
        log.warning("cache not cleared, stale for %d s at most: %s", CACHE_SECONDS, type(error).__name__)
