"""The ETF service."""

__version__ = "1.0"
