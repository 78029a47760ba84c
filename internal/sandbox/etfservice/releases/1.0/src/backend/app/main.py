"""The API. Every answer names the release that gave it."""

import logging
from contextlib import asynccontextmanager
from datetime import UTC

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from app import __version__
from app.api import etfs, health, prices, updates
from app.core import db, metrics
from app.core.config import settings
from app.models import EtfUpdate

log = logging.getLogger(__name__)
draining = False  # set before the process ends: clients are asked to connect anew


@asynccontextmanager
async def lifespan(_: FastAPI):
    """Shows the last successful update after a start from nothing, rather than 1970."""
    try:
        with db.session() as session:
            last = session.scalar(select(func.max(EtfUpdate.completed_at)).where(EtfUpdate.status == "completed"))
        if last:
            metrics.LAST_UPDATE.set(last.replace(tzinfo=UTC).timestamp())
    except SQLAlchemyError as error:
        log.warning("last update not known: %s", type(error).__name__)
    log.info("API %s starts", __version__)
    yield


api = FastAPI(title="ETF service", version=__version__, lifespan=lifespan)
for module in (health, updates, etfs, prices):  # fixed paths before those with an id in them
    api.include_router(module.router)


@api.exception_handler(OperationalError)
async def database_down(_, error: OperationalError) -> JSONResponse:
    log.error("the database does not answer: %s", type(error.orig).__name__)
    return JSONResponse({"detail": "the database does not answer"}, 503)


async def app(scope, receive, send) -> None:
    """The API with the release on each answer, errors of the framework's own included."""

    async def send_marked(message):
        if message["type"] == "http.response.start":
            marks = [(b"x-etf-release", settings().release.encode())]
            if draining:
                marks.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", ()), *marks]}
        await send(message)

    await api(scope, receive, send_marked if scope["type"] == "http" else send)
