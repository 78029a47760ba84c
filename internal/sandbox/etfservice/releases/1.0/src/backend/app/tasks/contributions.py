"""Monthly contributions to pension plans."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.core import db
from app.core.celery_app import celery
from app.models import Etf, PensionContribution, PensionEtf
from app.tasks.etf import put_off_while_paused


@celery.task(bind=True, max_retries=None)
def process_contributions(self) -> int:
    """Books this month's contribution of each plan once, at its ETF's last price."""
    put_off_while_paused(self)
    first_of_month = datetime.now(UTC).date().replace(day=1)
    booked = 0
    with db.session() as session:
        plans = select(PensionEtf, Etf.last_price).join(Etf, Etf.id == PensionEtf.etf_id)
        for plan, price in session.execute(plans.where(Etf.last_price > 0)).all():
            units = round(plan.monthly_amount / price, 6)
            contribution = insert(PensionContribution).values(
                pension_id=plan.id,
                etf_id=plan.etf_id,
                date=first_of_month,
                amount=plan.monthly_amount,
                price=price,
                units=units,
            )
            contribution = contribution.on_conflict_do_nothing().returning(PensionContribution.id)
            if session.scalar(contribution) is not None:
                plan.units = PensionEtf.units + units
                booked += 1
        session.commit()
    return booked
