"""the schema of release 1.0"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = Path(__file__).parent.parent / "sql" / "0001_base.sql"

# Those that refer to others come first.
TABLES = (
    "task_status",
    "pension_contributions",
    "pension_etfs",
    "households",
    "daily_update_tracking",
    "exchange_rate_errors",
    "exchange_rate_updates",
    "exchange_rates",
    "etf_errors",
    "etf_updates",
    "etf_prices",
    "etfs",
)


def upgrade() -> None:
    for statement in SCHEMA.read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            op.execute(text(statement))


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
