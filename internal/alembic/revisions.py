"""Print the heads, and the revisions between two points, as JSON.

Asks alembic itself: reading the files would be fooled by what only looks like
a revision. Arguments: the target (or "" for the heads only), then the
revisions to start from. The answer is the last line.
"""
import json
import re
import sys
import tokenize

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError


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


def main():
    target, current = sys.argv[1], tuple(sys.argv[2:])
    script = ScriptDirectory.from_config(Config("alembic.ini"))
    answer = {"heads": sorted(script.get_heads()), "revisions": []}
    if target:
        for name in current:
            script.get_revision(name)
        # As alembic's own upgrade does.
        found = script.iterate_revisions(target, current or None, implicit_base=True)
        for r in reversed(list(found)):
            answer["revisions"].append({
                "revision": r.revision,
                "down": ",".join(names(r.down_revision)),
                "title": r.doc,
                "path": r.path,
                "declared": compatibility(r.path),
            })
    print()
    print(json.dumps(answer))


try:
    main()
except (CommandError, RevisionError) as error:
    sys.exit("FAILED: %s" % error)
