"""Print the heads, and the revisions between two points, as JSON.

Asks alembic itself: reading the files would be fooled by what only looks like
a revision. Arguments: the target ("" for the heads only, "?" for the one head
there is, with what each revision would run), then the revisions to start from.
The answer is the last line.
"""
import io
import json
import linecache
import re
import sys
import tokenize
import traceback

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

config = Config("alembic.ini")
script = ScriptDirectory.from_config(config)


def compatibility(path):
    """The words of all comments '# compatibility: word' that have a line of their own."""
    words = []
    with tokenize.open(path) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.COMMENT and token.line.strip() == token.string:
                found = re.fullmatch(r"#\s*compatibility:\s*(.*?)\s*", token.string)
                if found:
                    words.append(found.group(1))
    return words


def names(value):
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def written(path, start, end, steps):
    """The SQL of one step in offline mode, as the commands of alembic write it, or why there is none."""
    config.output_buffer = out = io.StringIO()
    try:
        with EnvironmentContext(config, script, fn=lambda rev, context: steps(end, rev),
                                as_sql=True, starting_rev=start, destination_rev=end):
            script.run_env()
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = linecache.getline(last.filename, last.lineno).strip()
        return {"error": "%s: %s" % (type(error).__name__, error),
                "raised": last.filename == path and re.search(r"\braise\b", line) is not None}
    return {"sql": out.getvalue()}


def way_back(revision, before):
    if len(before) > 1:
        return {"error": "it merges branches"}
    return written(revision.path, revision.revision, before[0] if before else "base", script._downgrade_revs)


def main():
    target, current = sys.argv[1], tuple(sys.argv[2:])
    answer = {"heads": sorted(script.get_heads()), "revisions": []}
    render = target == "?"
    if render:
        target = answer["heads"][0] if len(answer["heads"]) == 1 else ""
    if target:
        for name in current:
            script.get_revision(name)
        # As alembic's own upgrade does.
        found = script.iterate_revisions(target, current or None, implicit_base=True)
        for r in reversed(list(found)):
            before = names(r.down_revision)
            answer["revisions"].append({
                "revision": r.revision,
                "down": ",".join(before),
                "title": r.doc,
                "path": r.path,
                "declared": compatibility(r.path),
            })
            if render:
                answer["revisions"][-1].update({
                    "up": written(r.path, before or "base", r.revision, script._upgrade_revs),
                    "back": way_back(r, before),
                })
    print()
    print(json.dumps(answer))


try:
    main()
except (CommandError, RevisionError) as error:
    sys.exit("FAILED: %s" % error)
