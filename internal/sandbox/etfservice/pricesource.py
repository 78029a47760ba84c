"""The price source of the sandbox: prices and exchange rates in closed form, over HTTP.

    pricesource.py PORT

    GET /v1/prices/{symbol}?start=YYYY-MM-DD&end=YYYY-MM-DD
    GET /v1/info/{symbol}
    GET /v1/rates?start=YYYY-MM-DD&end=YYYY-MM-DD
    GET /health

Needs nothing but Python's standard library. The same numbers come from the loader of the sandbox's
history: whoever changes a formula here changes it there too.
"""

import json
import math
import re
import signal
import sys
import threading
from datetime import date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from zlib import crc32

CURRENCIES = {"DE": "EUR", "US": "USD", "L": "GBp", "SW": "CHF"}
EXCHANGES = {"DE": "Xetra", "US": "NYSE Arca", "L": "London", "SW": "SIX"}
RATES = {
    "USD": 1.10, "CHF": 0.97, "GBP": 0.86, "JPY": 160.0, "CAD": 1.48, "AUD": 1.65,
    "SEK": 11.3, "DKK": 7.46, "NOK": 11.6, "SGD": 1.46, "HKD": 8.6,
}  # fmt: skip
EPOCH = date(1970, 1, 1)


class BadRequest(Exception):
    def __init__(self, status, detail):
        super().__init__(detail)
        self.status = status


def easter_sunday(year):
    """By Gauss, with the two exceptions."""
    a, k = year % 19, year // 100
    m = (15 + k - (13 + 8 * k) // 25 - k // 4) % 30
    d = (19 * a + m) % 30
    e = (2 * (year % 4) + 4 * (year % 7) + 6 * d + (4 + k - k // 4)) % 7
    days = 22 + d + e
    if (d, e) == (29, 6) or ((d, e) == (28, 6) and a > 10):
        days -= 7
    return date(year, 3, 1) + timedelta(days - 1)


def trading_days(start, end):
    day = start
    while day <= end:
        fixed = (day.month, day.day) in ((1, 1), (5, 1), (12, 25), (12, 26))
        if day.weekday() < 5 and not fixed and (day - easter_sunday(day.year)).days not in (-2, 1):
            yield day
        day += timedelta(1)


def crc(text):
    return crc32(text.encode())


def currency_of(symbol):
    currency = CURRENCIES.get(symbol.rpartition(".")[2]) if "." in symbol else None
    if currency is None:
        raise BadRequest(404, f"unknown symbol {symbol}: it ends in none of .{', .'.join(CURRENCIES)}")
    return currency


def price(symbol, currency, day):
    h, d = crc(symbol), (day - EPOCH).days
    base = 20 + h % 180
    growth = 0.02 + ((h >> 8) % 60) / 1000
    t = (d - 16000) / 365.25
    wave = 0.06 * math.sin(2 * math.pi * t / 1.7 + ((h >> 16) % 628) / 100)
    wave += 0.015 * math.sin(2 * math.pi * d / 9 + ((h >> 4) % 628) / 100)
    noise = (crc(f"{symbol}:{d}") % 2001 - 1000) * 0.000006
    close = base * math.exp(growth * t) * (1 + wave) * (1 + noise)
    if currency == "GBp":
        close *= 100
    first = close * (1 + 0.002 * math.sin(d))
    return {
        "date": day.isoformat(),
        "open": round(first, 2),
        "high": round(max(first, close) * 1.003, 2),
        "low": round(min(first, close) * 0.997, 2),
        "close": round(close, 2),
        "volume": 1000 + crc(f"{symbol}:v:{d}") % 90000,
    }


def rate(currency, day):
    d = (day - EPOCH).days
    swing = 0.03 * math.sin(2 * math.pi * d / 400 + (crc(currency) % 628) / 100) + 0.002 * math.sin(d)
    return round(RATES[currency] * (1 + swing), 6)


def span(query):
    try:
        start, end = (date.fromisoformat(query[name][0]) for name in ("start", "end"))
    except (KeyError, ValueError):
        raise BadRequest(400, "start and end are needed, as YYYY-MM-DD") from None
    return start, min(end, datetime.now(timezone.utc).date())


def answer(path, query):
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts == ["health"]:
        return {"status": "ok"}
    if parts == ["v1", "rates"]:
        days = trading_days(*span(query))
        return {"base": "EUR", "rates": [
            {"date": day.isoformat(), "currency": currency, "rate": rate(currency, day)}
            for day in days for currency in RATES
        ]}  # fmt: skip
    if len(parts) == 3 and parts[:2] == ["v1", "prices"]:
        symbol = parts[2]
        currency = currency_of(symbol)
        prices = [price(symbol, currency, day) for day in trading_days(*span(query))]
        return {"symbol": symbol, "currency": currency, "prices": prices}
    if len(parts) == 3 and parts[:2] == ["v1", "info"]:
        return info(parts[2])
    raise BadRequest(404, f"nothing at {path}")


def info(symbol):
    currency = currency_of(symbol)
    h = crc(symbol)
    number = re.search(r"\d+", symbol)
    return {
        "symbol": symbol,
        "name": f"Goldfinch Sample ETF {number[0] if number else symbol}",
        "currency": currency,
        "exchange": EXCHANGES[symbol.rpartition(".")[2]],
        "asset_class": "Equity",
        "domicile": "IE",
        "ter": (7 + h % 60) / 10000,
        "distribution_policy": "Accumulating" if h % 2 else "Distributing",
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def do_GET(self):
        url = urlsplit(self.path)
        try:
            status, body = 200, answer(url.path, parse_qs(url.query))
        except BadRequest as error:
            status, body = error.status, {"detail": str(error)}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away is nobody's fault
            super().handle_error(request, client_address)


def main():
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        raise SystemExit("usage: pricesource.py PORT")
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
