"""Listing currencies to EUR."""


def rate_currency(currency: str) -> str:
    """The currency whose rate counts: pence are a hundredth of a pound."""
    return "GBP" if currency == "GBp" else currency


def to_eur(amount: float, currency: str, rate: float) -> float:
    """An amount of the listing in EUR, to the cent; rate is that of rate_currency, 1 EUR = rate × currency."""
    if currency == "EUR":
        return round(amount, 2)
    if currency == "GBp":
        amount = amount / 100
    return round(amount / rate, 2)
