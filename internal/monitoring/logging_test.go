package monitoring_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The versions of python-json-logger that the service may be installed with.
var jsonLoggers = []string{"2.0.7", "3.3.0", "4.2.0"}

// logEverything loads logging.conf as the service does, after a logger of
// uvicorn's is there with a handler of its own, and logs in every way.
const logEverything = `
import logging, logging.config, sys, types

uvicorn = logging.getLogger("uvicorn.error")
uvicorn.addHandler(logging.StreamHandler(sys.stdout))
uvicorn.propagate = False
logging.getLogger("uvicorn").propagate = False
before = logging.getLogger("app.services.updater")
logging.config.fileConfig("logging.conf", disable_existing_loggers=False)

logging.getLogger("app.services.etf_service").info("a %s", "plain one")
before.warning("it was there before")
uvicorn.error("of uvicorn")
logging.getLogger("app").debug("not said")
log = logging.getLogger("app.tasks")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("two\nlines, \"quoted\" \udcff")
sys.modules["celery"] = types.SimpleNamespace(
    current_task=types.SimpleNamespace(request=types.SimpleNamespace(id="task-1")))
log.info("in a task")
sys.modules["celery"].current_task = None
log.info("outside of one")
`

type logLine struct {
	Time, Level, Logger, Message, Release, Exception string
	TaskID                                           string `json:"task_id"`
}

func TestLoggingConfLoads(t *testing.T) {
	want := []logLine{
		{Level: "INFO", Logger: "app.services.etf_service", Message: "a plain one"},
		{Level: "WARNING", Logger: "app.services.updater", Message: "it was there before"},
		{Level: "ERROR", Logger: "uvicorn.error", Message: "of uvicorn"},
		{Level: "ERROR", Logger: "app.tasks", Message: "two\nlines, \"quoted\" \ufffd", Exception: "ZeroDivisionError: division by zero"},
		{Level: "INFO", Logger: "app.tasks", Message: "in a task", TaskID: "task-1"},
		{Level: "INFO", Logger: "app.tasks", Message: "outside of one"},
	}
	for i := range want {
		want[i].Release = "20261123T010203Z-abcdef12"
	}
	for _, version := range jsonLoggers {
		t.Run(version, func(t *testing.T) {
			dir, logs := service(t), t.TempDir()
			said := run(t, dir, []string{"PYTHONPATH=" + install(t, "python-json-logger=="+version), "LOG_DIR=" + logs,
				"ETF_RELEASE=" + want[0].Release, "PYTHONWARNINGS=error"}, logEverything)
			if said != "" {
				t.Errorf("a handler that was there before still prints:\n%s", said)
			}
			content, err := os.ReadFile(filepath.Join(logs, "etf_service.log"))
			if err != nil {
				t.Fatal(err)
			}
			var got []logLine
			for line := range strings.Lines(string(content)) {
				var one logLine
				if err := json.Unmarshal([]byte(line), &one); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				if at, err := time.Parse(time.RFC3339, one.Time); err != nil || time.Since(at) > time.Minute {
					t.Errorf("time %q: %v", one.Time, err)
				}
				if trace := strings.Split(one.Exception, "\n"); len(trace) > 1 {
					one.Exception = trace[len(trace)-1]
				}
				one.Time = ""
				got = append(got, one)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// writeFromProcesses writes numbered lines from four processes at once, half
// of them forked from one that has logged before: they share its descriptor.
const writeFromProcesses = `
import logging, logging.config, os, sys

count, length = int(sys.argv[1]), int(sys.argv[2])
logging.config.fileConfig("logging.conf", disable_existing_loggers=False)
log = logging.getLogger("app.services.etf_service")
log.info("begins")

def write(process):
    if process >= 2:
        logging.config.fileConfig("logging.conf", disable_existing_loggers=False)
    for n in range(count):
        log.info("line %d.%d %s", process, n, "x" * length)
    os._exit(0)

children = []
for process in range(4):
    pid = os.fork()
    if not pid:
        write(process)
    children.append(pid)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
`

// What the plan's handler loses, ours does not. Files are smaller and backups
// more than in logging.conf, so that each line has room and many rotations
// come in little time.
func TestLinesLostByFourProcesses(t *testing.T) {
	const lines = 5000 // of each process
	dir, path := service(t), install(t, "python-json-logger=="+jsonLoggers[len(jsonLoggers)-1])
	edit(t, dir, "10485760, 5)", "65536, 1000)")
	ours := lost(t, dir, path, lines, 100, 65536)
	edit(t, dir, "class=app.core.jsonlog.SharedFileHandler", "class=handlers.RotatingFileHandler")
	theirs := 0
	for try := 0; try < 3 && theirs == 0; try++ { // chance may have it that two never rotate at once
		theirs = lost(t, dir, path, lines, 100, 65536)
	}
	t.Logf("of %d lines RotatingFileHandler lost %d (%.1f %%), SharedFileHandler %d", 4*lines, theirs, 100*float64(theirs)/(4*lines), ours)
	if ours != 0 {
		t.Errorf("%d lines are lost", ours)
	}
	if theirs == 0 {
		t.Error("RotatingFileHandler lost none: this test does not show what ours is for")
	}
}

// With the plan's sizes nothing is lost while the backups hold it all.
func TestLinesLostWithThePlansSizes(t *testing.T) {
	dir, path := service(t), install(t, "python-json-logger=="+jsonLoggers[len(jsonLoggers)-1])
	if n := lost(t, dir, path, 10000, 1000, 10485760); n != 0 {
		t.Errorf("%d of 40000 lines are lost", n)
	}
}

// A line that a full disk has cut does not spoil the next one.
func TestLineAfterAFullDisk(t *testing.T) {
	dir, logs := service(t), t.TempDir()
	run(t, dir, []string{"PYTHONPATH=" + install(t, "python-json-logger=="+jsonLoggers[0]), "LOG_DIR=" + logs}, `
import logging, logging.config, resource
logging.config.fileConfig("logging.conf", disable_existing_loggers=False)
logging.raiseExceptions = False
log = logging.getLogger("app.services.etf_service")
log.info("before")
most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, most[1]))
log.info("cut %s", "x" * 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, most)
log.info("after")
log.info("again")
`)
	content, err := os.ReadFile(filepath.Join(logs, "etf_service.log"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(content)) {
		var one logLine
		if json.Unmarshal([]byte(line), &one) != nil {
			one.Message = "torn"
		}
		got = append(got, one.Message)
	}
	if diff := cmp.Diff([]string{"before", "torn", "after", "again"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// edit changes the service's logging.conf.
func edit(t *testing.T, dir, old, text string) {
	t.Helper()
	conf := filepath.Join(dir, "logging.conf")
	content, err := os.ReadFile(conf)
	if err != nil || !strings.Contains(string(content), old) {
		t.Fatalf("%s does not hold %q (%v)", conf, old, err)
	}
	if err := os.WriteFile(conf, []byte(strings.Replace(string(content), old, text, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lost runs the writers and counts the lines that no file holds whole, once.
func lost(t *testing.T, dir, path string, lines, length, size int) int {
	t.Helper()
	logs := t.TempDir()
	run(t, dir, []string{"PYTHONPATH=" + path, "LOG_DIR=" + logs}, writeFromProcesses, fmt.Sprint(lines), fmt.Sprint(length))
	files, err := filepath.Glob(filepath.Join(logs, "*"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`^\{.*"message": "line ([0-9]+\.[0-9]+) (x+)".*\}$`)
	seen := map[string]int{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if over := len(content) - size; over > 4*(length+200) {
			t.Errorf("%s is %d bytes larger than it may be", file, over)
		}
		for one := range strings.Lines(string(content)) {
			if m := line.FindStringSubmatch(strings.TrimSuffix(one, "\n")); m != nil && len(m[2]) == length {
				seen[m[1]]++
			}
		}
	}
	for name, times := range seen {
		if times > 1 {
			t.Errorf("line %s stands %d times in the files", name, times)
		}
	}
	if least := 4 * lines * length / size; len(files) < least {
		t.Errorf("%d files, expected %d or more", len(files), least)
	}
	return 4*lines - len(seen)
}
