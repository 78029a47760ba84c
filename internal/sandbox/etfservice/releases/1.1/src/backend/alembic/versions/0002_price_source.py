"""prices say where they come from, and are unique for each source

The release before writes ON CONFLICT (etf_id, date), which has no constraint to stand on any more:
this migration needs the service to be stopped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("etf_prices", sa.Column("source", sa.String(), nullable=False, server_default="yfinance"))
    op.add_column("etf_prices", sa.Column("is_adjusted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_unique_constraint("uq_etf_prices_etf_id_date_source", "etf_prices", ["etf_id", "date", "source"])
    op.drop_constraint("uq_etf_prices_etf_id_date", "etf_prices", type_="unique")


def downgrade() -> None:
    # Ends with an error, and changes nothing, where a day has prices from two sources: which of
    # them to give up is for a person to decide.
    op.create_unique_constraint("uq_etf_prices_etf_id_date", "etf_prices", ["etf_id", "date"])
    op.drop_constraint("uq_etf_prices_etf_id_date_source", "etf_prices", type_="unique")
    op.drop_column("etf_prices", "is_adjusted")
    op.drop_column("etf_prices", "source")
