"""Run alembic with the migration lock and the fence in its own sessions.

Both hold as long as the server works for alembic, although whoever started it
has died. Arguments: alembic's own. Environment: ETF_FENCE, the token that the
fence must have; 0 for none. Works with SQLAlchemy 1.4 and 2. A refusal is one
line on the error output, "etf-deploy: busy: …" or "etf-deploy: fenced: …".
"""
import os
import sys
import time

from alembic.config import main
from sqlalchemy import event
from sqlalchemy.engine import Engine

KEY = "hashtext('etf-deploy/migration')"
HOLDERS = """
SELECT l.pid, a.application_name FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtext('etf-deploy/migration')
ORDER BY l.pid"""
FENCE = """
SELECT token, operation, to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM etf_ops.fence FOR SHARE"""

HELD = "etf-deploy lock"      # marks a session that has the lock
UNCHECKED = "etf-deploy due"  # marks a transaction that is to be checked at its first statement
POLL = 0.1                    # seconds

token = int(os.environ.get("ETF_FENCE") or 0)
sessions = set()  # this process's own, by backend pid
refusals = []


class Refused(BaseException):
    """Not an Exception: no handler of a migration is to go on after it."""


def refuse(kind, text):
    refusals.append("etf-deploy: %s: %s" % (kind, text))
    raise Refused(text)


def ask(conn, sql):
    """The rows of a query, by the driver: it begins no transaction of SQLAlchemy's."""
    cursor = conn.connection.cursor()
    try:
        cursor.execute(sql)
        return cursor.fetchall()
    finally:
        cursor.close()


def strangers(conn):
    return [(pid, name) for pid, name in ask(conn, HOLDERS) if pid not in sessions]


def acquire(conn):
    """Whether the session has the lock now.

    Every session of a process shares it, so that it is kept by whichever of
    them is still at work. Only who has it alone for a moment is the first; the
    others find nobody but this process's own sessions there.
    """
    if ask(conn, "SELECT pg_try_advisory_lock(%s)" % KEY)[0][0]:
        ask(conn, "SELECT pg_advisory_lock_shared(%s)" % KEY)
        ask(conn, "SELECT pg_advisory_unlock(%s)" % KEY)
        return True
    if not ask(conn, "SELECT pg_try_advisory_lock_shared(%s)" % KEY)[0][0]:
        return False
    if not strangers(conn):
        return True
    ask(conn, "SELECT pg_advisory_unlock_shared(%s)" % KEY)
    return False


def hold(conn):
    """Take the lock for the session, or give up after its lock_timeout."""
    sessions.add(ask(conn, "SELECT pg_backend_pid()")[0][0])
    limit = ask(conn, "SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'")[0][0] / 1000
    began, said = time.monotonic(), False
    # It asks again and again instead of queueing: a queue would keep further
    # sessions of the process that has the lock from sharing it.
    while not acquire(conn):
        there = ", ".join("%s (%s)" % (name or "unnamed", pid) for pid, name in strangers(conn)) or "unknown"
        conn.connection.rollback()  # no transaction stays open meanwhile
        if limit and time.monotonic() - began >= limit:
            refuse("busy", "session %s still has the migration lock after %gs%s" % (
                there, limit, "" if len(sessions) > 1 else ": nothing was changed"))
        if not said:
            print("waiting for session %s, which is migrating this database" % there, file=sys.stderr)
        said = True
        time.sleep(POLL)
    conn.connection.rollback()  # the lock belongs to the session and stays
    conn.info[HELD] = True


def check(conn):
    """Compare the fence with our token; it cannot be moved until the transaction ends."""
    missing, read_only = ask(conn, """
        SELECT to_regclass('etf_ops.fence') IS NULL, current_setting('transaction_read_only') = 'on'""")[0]
    if read_only:
        return  # and it stays so until its end: it changes nothing, and may lock no row
    if missing:
        refuse("fenced", "there is no etf_ops.fence in this database, token %d was never taken: take the fence first" % token)
    rows = ask(conn, FENCE)
    if not rows:
        refuse("fenced", "token %d was never taken in this database: take the fence first" % token)
    present, operation, since = rows[0]
    if present < token:
        refuse("fenced", "the fence still has token %d of operation %s, not %d: take it first" % (present, operation, token))
    if present > token:
        refuse("fenced", "operation %s has held the fence since %s (token %d, ours is %d): this transaction changed nothing" % (
            operation, since, present, token))


def ours(conn):
    """Whether the connection is PostgreSQL's; its session has the lock then."""
    if conn.dialect.name != "postgresql":
        return False
    if not conn.info.get(HELD):
        hold(conn)
    return True


def autocommits(conn):
    return bool(getattr(conn.connection, "autocommit", False))


def on_connect(conn, *_):  # SQLAlchemy 1.4 says one more thing
    ours(conn)


def on_begin(conn):
    if ours(conn) and token and not autocommits(conn):
        check(conn)


def on_begin_twophase(conn, xid):
    # The driver has yet to begin, and would not in the middle of a transaction.
    if ours(conn):
        conn.info[UNCHECKED] = True


def on_statement(conn, *_):
    """Check where no beginning was seen: with autocommit, and in SQLAlchemy 1.4."""
    if ours(conn) and token and (conn.info.pop(UNCHECKED, False) or autocommits(conn) or not conn.in_transaction()):
        check(conn)


event.listen(Engine, "engine_connect", on_connect)
event.listen(Engine, "begin", on_begin)
event.listen(Engine, "begin_twophase", on_begin_twophase)
event.listen(Engine, "before_cursor_execute", on_statement)

sys.argv[0] = "alembic"
try:
    main(argv=sys.argv[1:], prog="alembic")
except BaseException:
    if not refusals:
        raise
if refusals:
    sys.exit(refusals[0])
