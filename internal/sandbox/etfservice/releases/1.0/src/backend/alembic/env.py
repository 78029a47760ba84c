"""Runs migrations: each in a transaction of its own, online or as SQL on standard output.

The session belongs to whoever migrates: application name, timeouts and locks come from outside
(PGAPPNAME, PGOPTIONS, settings of the role), so nothing of that kind is set here.
"""

from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, pool

from app.core.config import ConfigurationError, database_url
from app.models import Base

fileConfig(context.config.config_file_name, disable_existing_loggers=False)


def offline() -> None:
    try:
        target = {"url": database_url()}
    except ConfigurationError:  # SQL can be written without knowing any database
        target = {"dialect_name": "postgresql"}
    context.configure(
        **target,
        target_metadata=Base.metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def online() -> None:
    engine = create_engine(database_url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    offline()
else:
    online()
