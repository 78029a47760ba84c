"""The price source, over HTTP."""

import json
import time
from datetime import date
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import urlopen

from app.core.config import settings

TIMEOUT_SECONDS = 10
ATTEMPTS = 3


class PriceSourceError(Exception):
    """The source does not answer, or refuses; the message says which."""


def _get(path: str, **query) -> dict:
    url = f"{settings().price_source_url}{path}"
    if query:
        url += "?" + urlencode(query)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code < 500:
                raise PriceSourceError(f"price source: {path}: status {error.code}") from error
            problem = f"status {error.code}"
        except (OSError, HTTPException, ValueError) as error:
            problem = str(getattr(error, "reason", error))
        if attempt < ATTEMPTS:
            time.sleep(0.5 * attempt)
    raise PriceSourceError(f"price source: {path}: {problem} ({ATTEMPTS} attempts)")


def prices(symbol: str, start: date, end: date) -> dict:
    """{"currency", "prices": [{"date", "open", "high", "low", "close", "volume"}]} in the listing's currency."""
    return _get(f"/v1/prices/{quote(symbol, safe='')}", start=start, end=end)


def info(symbol: str) -> dict:
    return _get(f"/v1/info/{quote(symbol, safe='')}")


def rates(start: date, end: date) -> list[dict]:
    """[{"date", "currency", "rate"}]; 1 EUR = rate × currency."""
    return _get("/v1/rates", start=start, end=end)["rates"]
