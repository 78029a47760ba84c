"""Updates of ETFs, their errors, and what the workers did."""

import datetime as dt

from sqlalchemy import ARRAY, Date, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Serial


class EtfUpdate(Base):
    __tablename__ = "etf_updates"
    __table_args__ = (Index("ix_etf_updates_etf_id_created_at", "etf_id", "created_at"),)

    id: Mapped[Serial]
    etf_id: Mapped[str] = mapped_column(ForeignKey("etfs.id", ondelete="CASCADE"))
    update_type: Mapped[str]
    start_date: Mapped[dt.date | None]
    end_date: Mapped[dt.date | None]
    status: Mapped[str] = mapped_column(server_default="pending")
    created_at: Mapped[Created]
    completed_at: Mapped[dt.datetime | None]
    error: Mapped[str | None]
    missing_dates: Mapped[list[dt.date] | None] = mapped_column(ARRAY(Date))
    retry_count: Mapped[int] = mapped_column(server_default="0")
    notes: Mapped[str | None]


class EtfError(Base):
    __tablename__ = "etf_errors"
    __table_args__ = (
        UniqueConstraint("etf_id", "error_type", "date", name="uq_etf_errors_etf_id_error_type_date"),
    )

    id: Mapped[Serial]
    etf_id: Mapped[str] = mapped_column(ForeignKey("etfs.id", ondelete="CASCADE"))
    error_type: Mapped[str]
    date: Mapped[dt.date]
    created_at: Mapped[Created]
    resolved: Mapped[bool] = mapped_column(server_default=false())
    resolved_at: Mapped[dt.datetime | None]
    context: Mapped[str | None]


class DailyUpdateTracking(Base):
    __tablename__ = "daily_update_tracking"

    date: Mapped[dt.date] = mapped_column(primary_key=True)
    update_type: Mapped[str] = mapped_column(primary_key=True)
    attempted: Mapped[bool] = mapped_column(server_default=false())
    data_found: Mapped[bool] = mapped_column(server_default=false())


class TaskStatus(Base):
    __tablename__ = "task_status"
    __table_args__ = (Index("ix_task_status_task_name_started_at", "task_name", "started_at"),)

    task_id: Mapped[str] = mapped_column(primary_key=True)
    task_name: Mapped[str]
    status: Mapped[str]
    started_at: Mapped[dt.datetime]
    finished_at: Mapped[dt.datetime | None]
    detail: Mapped[str | None]
