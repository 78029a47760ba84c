"""Print the tasks and the timetable of a release, and what its beat has sent, as JSON.

Asks Celery itself: when an entry is due only its own arithmetic knows. The argument is a question in
JSON, the answer is the last line.

Beat keeps its state in a shelve that belongs to it alone: this reads a copy. Whoever may write that
file must not have this program do anything, so that of what is pickled there only times and timetables
are made again.
"""
import dbm
import io
import json
import os
import pickle
import shutil
import sys
import tempfile
import time
from copy import copy
from datetime import datetime

from celery import schedules
from celery.app.utils import find_app
from celery.beat import ScheduleEntry, Scheduler
from celery.utils.time import maybe_make_aware

SUFFIXES = ("", ".db", ".dat", ".dir", ".bak", ".pag", "-wal")
IN_MEMORY = "dbm.ndbm"  # writes nothing to the disk before it is closed
PERSISTENT = ("celery.beat:PersistentScheduler", "celery.beat.PersistentScheduler")


class Inert:
    """Stands for what is not read; nothing can be said of whether it has changed."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def __eq__(self, other):
        return True

    __hash__ = None


def zone_of(obj, name):
    """How a ZoneInfo is pickled: by the attribute that makes it again."""
    if getattr(obj, "__module__", "") == "zoneinfo" and name == "_unpickle":
        return obj._unpickle
    return Inert


class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ("builtins", "getattr"):
            return zone_of
        if module in ("datetime", "zoneinfo") or (module, name) in (("pytz", "_UTC"), ("pytz", "_p"), ("builtins", "set")):
            return super().find_class(module, name)
        found = getattr(sys.modules.get(module), name, None)  # imports nothing
        if isinstance(found, type) and issubclass(found, (schedules.BaseSchedule, ScheduleEntry)):
            return found
        return Inert


def parts(file):
    """The files that make up a shelve, with what tells whether one has changed."""
    found = {}
    for suffix in SUFFIXES:
        try:
            st = os.stat(file + suffix)
        except FileNotFoundError:
            continue
        found[suffix] = (st.st_size, st.st_mtime_ns)
    return found


def read(file):
    """Beat's entries, when they were written and by which dbm, from a copy that was not written to meanwhile."""
    error = FileNotFoundError(f"{file} is not there")
    for attempt in range(5):
        if attempt:
            time.sleep(0.1)
        before = parts(file)
        if not before:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                for suffix in before:
                    shutil.copyfile(file + suffix, os.path.join(folder, "timetable" + suffix))
                if parts(file) != before:
                    error = RuntimeError(f"{file} is written all the time")
                    continue
                kind = dbm.whichdb(os.path.join(folder, "timetable"))
                with dbm.open(os.path.join(folder, "timetable"), "r") as state:
                    if kind == IN_MEMORY and b"entries" not in state:
                        entries = {}
                    else:
                        entries = Reader(io.BytesIO(state[b"entries"])).load()
                return entries, max(changed for _, changed in before.values()) / 1e9, kind
            except Exception as e:  # damaged, of another dbm, not readable: what it is, is for a person
                error = e
    raise error


def of_release(app):
    """The entries that the release's beat has: those of its code, and Celery's own."""
    scheduler = Scheduler(app, schedule={}, lazy=True)
    scheduler.merge_inplace(app.conf.beat_schedule)
    scheduler.install_default_entries(scheduler.schedule)
    return scheduler.schedule


def same(a, b):
    options = [{k: v for k, v in e.options.items() if k != "headers"} for e in (a, b)]  # beat adds one of its own
    return (a.task, tuple(a.args or ()), a.kwargs, a.schedule, options[0]) == (b.task, tuple(b.args or ()), b.kwargs, b.schedule, options[1])


def text(schedule):
    if isinstance(schedule, schedules.crontab):
        fields = "minute hour day_of_month month_of_year day_of_week".split()
        return " ".join(str(getattr(schedule, "_orig_" + f)) for f in fields)
    if isinstance(schedule, schedules.schedule):
        return "every " + schedule.human_seconds
    return repr(schedule)


def settle(file, entries, q):
    """What beat has written since its start; it takes a moment to come to that, and the beat before may have
    written its last in the same second. Where its dbm keeps all in memory: what the beat before has left."""
    until = time.time() + q["patience"]
    while True:
        found = {"live": False}
        try:
            state, found["written"], kind = read(file)
            agree = state.keys() == entries.keys() and all(same(state[n], entries[n]) for n in state)
            found["in_memory"] = kind == IN_MEMORY
            found["live"] = not found["in_memory"] and found["written"] >= (q["started"] or 0)
            done = found["in_memory"] or found["live"] and (agree or found["written"] >= (q["started"] or 0) + 2)
        except Exception as e:
            state, found["unread"], done = {}, f"{type(e).__name__}: {e}", False
        if done or time.time() > until:
            return state, found
        time.sleep(0.2)


def main(q):
    sys.path.insert(0, os.getcwd())
    app = find_app(q["app"])
    app.set_current()
    app.loader.import_default_modules()
    app.finalize()
    code = of_release(app)
    scheduler = q["scheduler"] or app.conf.beat_scheduler
    answer = {"tasks": sorted(t for t in app.tasks if not t.startswith("celery.")), "scheduler": scheduler,
              "longest_sleep": (app.conf.beat_max_loop_interval or 300) + Scheduler.sync_every}
    state = {}
    if q["cwd"] and scheduler in PERSISTENT:
        answer["file"] = os.path.join(q["cwd"], q["file"] or app.conf.beat_schedule_filename)
        state, found = settle(answer["file"], code, q)
        answer |= found
    answer["now"] = time.time()

    def due_after(schedule, since):
        schedule = copy(schedule)
        schedule.nowfun = lambda: datetime.fromtimestamp(answer["now"], app.timezone)
        return answer["now"] + schedule.remaining_estimate(datetime.fromtimestamp(since, app.timezone)).total_seconds()

    def describe(name, entry):
        stored = state.get(name)
        d = {"name": name, "task": entry.task, "schedule": text(entry.schedule), "in_file": stored is not None}
        alone = sum(e.task == entry.task for e in code.values()) == 1  # else a run may be another entry's
        tables = [t for t in (alone and q["task_runs"].get(entry.task) or None, q["entry_runs"].get(name)) if t is not None]
        anchors = {"next": answer["now"], "after_since": q["since"], "after_tables": max(tables, default=None)}
        if stored is not None:
            d |= {"same": same(stored, entry), "runs": stored.total_run_count, "last": maybe_make_aware(stored.last_run_at).timestamp()}
            d["stored"] = "" if d["same"] else f"{stored.task}, {text(stored.schedule)}"
            anchors["after_last"] = d["last"]
        try:
            d |= {key: due_after(entry.schedule, at) for key, at in anchors.items() if at is not None}
            d["passed_over"] = stored is not None and d["after_last"] < answer["now"] and not entry.schedule.is_due(stored.last_run_at)[0]
        except Exception as e:  # a kind of timetable that is not Celery's own
            d["unknown"] = f"{type(e).__name__}: {e}"
        return d

    answer["entries"] = [describe(name, entry) for name, entry in sorted(code.items())]
    answer["strange"] = sorted(set(state) - set(code))
    return answer


print()
print(json.dumps(main(json.loads(sys.argv[1]))))
