"""The tables of the service."""

from app.models.base import Base, as_dict
from app.models.etf import Etf
from app.models.household import Household, PensionContribution, PensionEtf
from app.models.prices import EtfPrice
from app.models.rates import ExchangeRate, ExchangeRateError, ExchangeRateUpdate
from app.models.updates import DailyUpdateTracking, EtfError, EtfUpdate, TaskStatus

__all__ = [
    "Base", "DailyUpdateTracking", "Etf", "EtfError", "EtfPrice", "EtfUpdate", "ExchangeRate",
    "ExchangeRateError", "ExchangeRateUpdate", "Household", "PensionContribution", "PensionEtf",
    "TaskStatus", "as_dict",
]  # fmt: skip
