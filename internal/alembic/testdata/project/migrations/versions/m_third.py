"""prices; and the session shown"""
from alembic import context, op
import sqlalchemy as sa

revision = "0003"
down_revision = "0002"


def upgrade():
    op.create_table("prices", sa.Column("id", sa.Integer, primary_key=True))  # compatibility: expand
    if not context.is_offline_mode():
        row = op.get_bind().execute(sa.text(
            "SELECT current_setting('application_name') || ' ' || current_setting('lock_timeout') || ' ' || current_setting('statement_timeout')"
        ))
        print("session:", row.scalar())


def downgrade():
    op.drop_table("prices")
