"""the first tables"""
from alembic import op
import sqlalchemy as sa

revision = "0001"
down_revision = None


def upgrade():
    op.create_table("etfs", sa.Column("id", sa.String, primary_key=True))


def downgrade():
    op.drop_table("etfs")
