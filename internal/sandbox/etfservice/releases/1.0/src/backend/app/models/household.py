"""Households and the pension plans that they pay into."""

import datetime as dt

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Amount, Base, Created, Fine, Serial


class Household(Base):
    __tablename__ = "households"

    id: Mapped[Serial]
    name: Mapped[str]
    created_at: Mapped[Created]


class PensionEtf(Base):
    __tablename__ = "pension_etfs"

    id: Mapped[Serial]
    household_id: Mapped[int] = mapped_column(ForeignKey("households.id", ondelete="CASCADE"))
    etf_id: Mapped[str] = mapped_column(ForeignKey("etfs.id"))
    monthly_amount: Mapped[Amount]
    units: Mapped[Fine] = mapped_column(server_default="0")


class PensionContribution(Base):
    __tablename__ = "pension_contributions"
    __table_args__ = (UniqueConstraint("pension_id", "date", name="uq_pension_contributions_pension_id_date"),)

    id: Mapped[Serial]
    pension_id: Mapped[int] = mapped_column(ForeignKey("pension_etfs.id", ondelete="CASCADE"))
    etf_id: Mapped[str] = mapped_column(ForeignKey("etfs.id"))
    date: Mapped[dt.date]
    amount: Mapped[Amount]
    price: Mapped[Amount]
    units: Mapped[Fine]
