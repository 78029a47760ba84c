"""an index for the list of updates by status"""
# compatibility: expand

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEX = "ix_etf_updates_status_created_at"


def upgrade() -> None:
    # Built beside the running service; an invalid one that an interrupted attempt left goes first.
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, table_name="etf_updates", if_exists=True, postgresql_concurrently=True)
        op.create_index(INDEX, "etf_updates", ["status", "created_at"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, table_name="etf_updates", if_exists=True, postgresql_concurrently=True)
