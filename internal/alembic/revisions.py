# Reads the revision files of the alembic.ini in the working folder and prints
# what was asked for as JSON. env.py is not run, no database is touched.
import json
import sys

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError


def text(down):
    if down is None:
        return ""
    return down if isinstance(down, str) else ",".join(down)


def pending(scripts, start, end):
    for revision in filter(None, start.split(",") + end.split(",")):
        try:
            scripts.get_revision(revision)
        except (CommandError, ResolutionError):
            return {"unknown": revision}
    lower = tuple(filter(None, start.split(","))) or "base"
    found = [
        {"revision": s.revision, "down": text(s.down_revision), "title": s.doc, "path": s.path}
        for s in scripts.iterate_revisions(tuple(end.split(",")), lower)
    ]
    return {"migrations": found[::-1]}


def main(what, *args):
    scripts = ScriptDirectory.from_config(Config("alembic.ini"))
    if what == "heads":
        return {"heads": sorted(scripts.get_heads())}
    return pending(scripts, *args)


try:
    answer = main(*sys.argv[1:])
except CommandError as e:
    answer = {"error": str(e)}
json.dump(answer, sys.stdout)
