"""${message}"""
## Add a line `# compatibility: expand` (the release before can go on running on the new schema) or
## `# compatibility: contract`; without one the migration needs the service to be stopped.

from alembic import op
import sqlalchemy as sa

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
