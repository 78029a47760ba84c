"""The days on which prices and exchange rates exist: working days without TARGET's holidays."""

from collections.abc import Iterator
from datetime import date, timedelta


def easter_sunday(year: int) -> date:
    """The anonymous Gregorian computus."""
    a, b, c = year % 19, year // 100, year % 100
    g = (8 * b + 13) // 25
    h = (19 * a + b - b // 4 - g + 15) % 30
    m = (a + 11 * h) // 319
    k = (2 * (b % 4) + 2 * (c // 4) - c % 4 - h + m + 32) % 7
    month = (h - m + k + 90) // 25
    return date(year, month, (h - m + k + month + 19) % 32)


def is_trading_day(day: date) -> bool:
    if day.weekday() > 4 or (day.month, day.day) in ((1, 1), (5, 1), (12, 25), (12, 26)):
        return False
    return (day - easter_sunday(day.year)).days not in (-2, 1)  # Good Friday, Easter Monday


def trading_days(start: date, end: date) -> Iterator[date]:
    """Those from start to end, both included."""
    days = (start + timedelta(n) for n in range((end - start).days + 1))
    return (day for day in days if is_trading_day(day))


def chunks(start: date, end: date, days: int = 90) -> Iterator[tuple[date, date]]:
    """The span cut into pieces, since the price source answers for a limited time only."""
    while start <= end:
        last = min(start + timedelta(days - 1), end)
        yield start, last
        start = last + timedelta(1)
