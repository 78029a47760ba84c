"""a note for each

revision = "fooled"
down_revision = "nowhere"
# compatibility: contract
"""
# compatibility: expand

from alembic import op
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"


def upgrade():
    op.add_column("etfs", sa.Column("note", sa.String))


def downgrade():
    op.drop_column("etfs", "note")
