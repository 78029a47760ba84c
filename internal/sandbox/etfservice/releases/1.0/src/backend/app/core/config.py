"""The configuration: the process environment first, then the .env file of this release."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BACKEND = Path(__file__).resolve().parents[2]


class ConfigurationError(Exception):
    """A key is missing; the message names it and where it was looked for."""


def _env_file() -> Path | None:
    """The nearest .env, from src/backend up to the release's own folder."""
    folders = (BACKEND, *BACKEND.parents[:2])
    return next((f / ".env" for f in folders if (f / ".env").is_file()), None)


@cache
def _from_file() -> dict[str, str]:
    path = _env_file()
    values = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path else ():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            values[name.strip()] = value
    return values


def setting(name: str) -> str:
    value = os.environ.get(name) or _from_file().get(name)
    if not value:
        raise ConfigurationError(f"{name} is set neither in the environment nor in {_env_file() or 'a .env file'}")
    return value


def database_url() -> str:
    """DATABASE_URL for SQLAlchemy; libpq's own form (postgresql://) is accepted too."""
    url = setting("DATABASE_URL")
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        scheme = "postgresql+psycopg"
    return scheme + separator + rest


@dataclass(frozen=True)
class Settings:
    redis_url: str
    broker_url: str
    result_backend: str
    price_source_url: str
    log_dir: Path
    log_level: str
    release: str


@cache
def settings() -> Settings:
    return Settings(
        redis_url=setting("REDIS_URL"),
        broker_url=setting("CELERY_BROKER_URL"),
        result_backend=setting("CELERY_RESULT_BACKEND"),
        price_source_url=setting("PRICE_SOURCE_URL").rstrip("/"),
        log_dir=Path(setting("LOG_DIR")),
        log_level=setting("LOG_LEVEL").upper(),
        release=os.environ.get("ETF_RELEASE", "unreleased"),
    )
