package servicelog

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

var cutOver = time.Date(2024, 11, 23, 2, 0, 0, 0, time.UTC)

// jsonAt is a line of the service, so many seconds after the cut-over.
func jsonAt(seconds float64, level, message string) string {
	at := cutOver.Add(time.Duration(seconds * float64(time.Second)))
	return fmt.Sprintf(`{"time": %q, "level": %q, "logger": "app", "message": %q, "release": "20241123T015959Z-abcdef12"}`+"\n", at.Format("2006-01-02T15:04:05.000-07:00"), level, message)
}

func write(t testing.TB, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func touch(t testing.TB, file string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

func zipped(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func read(t testing.TB, h host.Host, patterns ...string) Report {
	t.Helper()
	r, err := Read(t.Context(), h, patterns, cutOver)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r Report) file(t testing.TB, name string) File {
	t.Helper()
	i := slices.IndexFunc(r.Files, func(f File) bool { return filepath.Base(f.Path) == name })
	if i < 0 {
		t.Fatalf("%s is not among %+v", name, r.Files)
	}
	return r.Files[i]
}

func TestGroups(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/etf_service.log", jsonAt(-1, "ERROR", "before")+jsonAt(0, "ERROR", "update 1 of VWCE.DE failed")+jsonAt(1, "INFO", "fine")+
		jsonAt(3, "CRITICAL", "update 22 of EUNL.DE failed")+jsonAt(2, "ERROR", "other \xff\x07\nline")+"\n"+jsonAt(4, "WARNING", "x")+
		`{"time": "2024-11-23T02:00:05Z", "level": "ERROR", "logger": "app", "message": "update 3 of IE00BK5BQT80 failed", "exception": "Traceback\n  f\nValueError: no \u00a3"}`)
	r := read(t, host.Local{}, dir+"/*.log*")
	want := []Group{
		{3, "app", "update 1 of VWCE.DE failed", "", dir + "/etf_service.log", cutOver, cutOver.Add(5 * time.Second)},
		{1, "app", "other ··", "", dir + "/etf_service.log", cutOver.Add(2 * time.Second), cutOver.Add(2 * time.Second)},
	}
	if all, err := Read(t.Context(), host.Local{}, []string{dir + "/*.log*"}, time.Time{}); err != nil || all.Errors != 5 || all.Lines != 7 {
		t.Errorf("since ever: %+v, %v", all, err)
	}
	want[1].Message = r.Groups[1].Message // %q writes \xff as an escape that JSON does not know
	if diff := gocmp.Diff(want, r.Groups); diff != "" || r.Lines != 6 || r.Errors != 4 {
		t.Errorf("%d lines, %d errors\n%s", r.Lines, r.Errors, diff)
	}
}

// A traceback belongs to its record, and what has no time to the one before.
func TestPlain(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/celery.log", `
ERROR:app:from an hour ago
[2024-11-23 01:00:00,000: INFO/MainProcess] old
Traceback (most recent call last):
ValueError: old
ERROR:    old too
[2024-11-23 02:00:01,500: ERROR/ForkPoolWorker-1] Task app.tasks.update[0f8fad5b-d9cb-469f-a165-70867728950e] raised unexpected: ValueError('x')
Traceback (most recent call last):
  File "a.py", line 3, in f
    raise ValueError("ERROR:a:b")
ValueError: x

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
app.errors.PriceMissing: no price `+"\xff\x1b[31m"+`
[2024-11-23 02:00:02,000: WARNING/MainProcess] fine
this belongs to the warning
ERROR:    Exception in ASGI application
ERROR:app.api:again
2024-11-23 02:00:03,000 ERROR app.api: again`)
	r := read(t, host.Local{}, dir+"/celery.log")
	want := []Group{
		{2, "app.api", "again", "", dir + "/celery.log", cutOver.Add(2 * time.Second), cutOver.Add(3 * time.Second)},
		{1, "", "Task app.tasks.update[0f8fad5b-d9cb-469f-a165-70867728950e] raised unexpected: ValueError('x')", "app.errors.PriceMissing: no price ··[31m", dir + "/celery.log", cutOver.Add(1500 * time.Millisecond), cutOver.Add(1500 * time.Millisecond)},
		{1, "", "Exception in ASGI application", "", dir + "/celery.log", cutOver.Add(2 * time.Second), cutOver.Add(2 * time.Second)},
	}
	if diff := gocmp.Diff(want, r.Groups); diff != "" || r.Errors != 4 {
		t.Errorf("%d errors\n%s", r.Errors, diff)
	}
}

func TestRotated(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/etf.log", jsonAt(30, "ERROR", "newest"))
	write(t, dir+"/etf.log.1", jsonAt(20, "ERROR", "one"))
	write(t, dir+"/etf.log.2.gz", zipped(t, jsonAt(-10, "ERROR", "old")+jsonAt(10, "ERROR", "two"))+zipped(t, jsonAt(11, "ERROR", "two")))
	write(t, dir+"/etf.log.2024-11-23", jsonAt(5, "ERROR", "date"))
	write(t, dir+"/etf.log.9", jsonAt(1, "ERROR", "said to be old"))
	touch(t, dir+"/etf.log.9", cutOver.Add(-time.Hour))
	write(t, dir+"/etf.log.3", jsonAt(2, "ERROR", "three"))
	write(t, dir+"/etf.log.3.gz", zipped(t, jsonAt(2, "ERROR", "three"))[:20]) // in the making
	if err := errors.Join(os.Symlink("etf.log", dir+"/current.log"), os.Mkdir(dir+"/folder.log", 0o700), syscall.Mkfifo(dir+"/pipe.log", 0o600)); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/celerybeat-schedule", "\x00\x01 ERROR")
	r := read(t, host.Local{}, dir+"/*.log*", dir+"/etf*")
	got := map[string]int64{}
	for _, g := range r.Groups {
		got[g.Message] = g.Count
	}
	for _, f := range r.Files {
		if f.Err != nil {
			t.Errorf("%s: %v", f.Path, f.Err)
		}
	}
	if diff := gocmp.Diff(map[string]int64{"newest": 1, "one": 1, "two": 2, "date": 1, "three": 1}, got); diff != "" || r.Older != 1 {
		t.Errorf("%d older, %+v\n%s", r.Older, r.Files, diff)
	}
}

func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/empty.log", "")
	write(t, dir+"/binary.log", "\x7fELF\x00\x01\x02 ERROR:\n\x00\xff")
	write(t, dir+"/undated.log", "ERROR:app:x\nINFO:app:y\n")
	write(t, dir+"/unleveled.log", "2024-11-23 02:00:01 something\n")
	write(t, dir+"/zeros.log", strings.Repeat("\x00", 100000)+jsonAt(1, "ERROR", "behind zeros"))
	write(t, dir+"/cut.log.gz", zipped(t, strings.Repeat(jsonAt(1, "ERROR", "cut"), 5000))[:900])
	write(t, dir+"/no.log.gz", "not packed")
	write(t, dir+"/strange.log.xz", "\xfd7zXZ")
	if err := os.Symlink("loop.log", dir+"/loop.log"); err != nil {
		t.Fatal(err)
	}
	r := read(t, host.Local{}, dir+"/*.log*", dir+"/none*.txt", dir+"/no/such/*.log")
	for name, want := range map[string]string{"empty.log": "", "binary.log": ErrBinary.Error(), "undated.log": "no line of it has a time", "unleveled.log": "no line of it has a level",
		"zeros.log": "", "cut.log.gz": "unexpected EOF", "no.log.gz": "invalid header", "strange.log.xz": "cannot unpack", "loop.log": "too many levels", "none*.txt": "no such log file", "*.log": "no such file or directory"} {
		f := r.file(t, name)
		if got := fmt.Sprint(f.Err); want == "" && f.Err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", name, f.Err, want)
		}
	}
	if f := r.file(t, "zeros.log"); f.Errors != 1 {
		t.Errorf("behind zeros: %+v", f)
	}
	if f := r.file(t, "cut.log.gz"); f.Errors < 100 {
		t.Errorf("before the end of what is cut off: %+v", f)
	}
}

func TestLongLines(t *testing.T) {
	dir := t.TempDir()
	mega, more := strings.Repeat("x", 1<<20), strings.Repeat("y", maxLine)
	write(t, dir+"/a.log", jsonAt(1, "ERROR", "first")+
		`{"message": "`+mega+`", "level": "ERROR", "time": "2024-11-23T02:00:02Z"}`+"\n"+ // whole
		jsonAt(3, "ERROR", more)+ // its level comes first
		`{"time": "2024-11-23T02:00:04Z", "message": "`+more+`", "level": "ERROR"}`+"\n"+
		`{"message": "`+more+`", "level": "ERROR", "time": "2024-11-23T02:00:04Z"}`+"\n"+
		jsonAt(5, "ERROR", "last")+more)
	f := read(t, host.Local{}, dir+"/a.log").file(t, "a.log")
	if f.Errors != 4 || f.Long != 4 || f.Blind != 2 || f.Err != nil {
		t.Errorf("%+v", f)
	}
}

// acting is a host on which something happens whenever a file was listed,
// opened, or read from.
type acting struct {
	host.Host
	list   func(path string)
	opened func(path string, offset int64)
	read   func(path string)
}

// half is a file of which some was read.
type half struct {
	io.ReadCloser
	read func()
}

func (h half) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p[:min(len(p), 100000)])
	h.read()
	return n, err
}

func (a acting) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, host.FileInfo, error) {
	r, info, err := a.Host.Open(ctx, path, offset)
	if a.opened != nil {
		a.opened(path, offset)
	}
	if a.read != nil && err == nil {
		r = half{r, func() { a.read(path) }}
	}
	return r, info, err
}

func (a acting) Stat(ctx context.Context, path string) (host.FileInfo, error) {
	info, err := a.Host.Stat(ctx, path)
	if a.list != nil {
		a.list(path)
	}
	return info, err
}

// Whatever rotation does while the log is read, nothing is lost and nothing
// counted twice.
func TestRotatedWhileRead(t *testing.T) {
	rename := func(t *testing.T, log string) {
		if err := os.Rename(log, log+".1"); err != nil {
			t.Fatal(err)
		}
		write(t, log, jsonAt(2, "ERROR", "new"))
	}
	for name, rotate := range map[string]func(t *testing.T, log string){
		"by renaming": rename,
		"by renaming and packing": func(t *testing.T, log string) {
			content, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			rename(t, log)
			write(t, log+".1.gz", zipped(t, string(content)))
			if err := os.Remove(log + ".1"); err != nil {
				t.Fatal(err)
			}
		},
		"by copying and cutting off": func(t *testing.T, log string) {
			content, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			write(t, log+".1", string(content))
			write(t, log, jsonAt(2, "ERROR", "new")) // the same file
		},
	} {
		for _, moment := range []string{"listed", "opened", "half read"} {
			t.Run(name+", "+moment, func(t *testing.T) {
				log := t.TempDir() + "/etf.log"
				write(t, log, strings.Repeat(jsonAt(1, "ERROR", "old"), 20000))
				done := false
				once := func(path string) {
					if path == log && !done {
						done = true
						rotate(t, log)
					}
				}
				h := acting{Host: host.Local{}}
				switch moment {
				case "listed":
					h.list = once
				case "opened":
					h.opened = func(path string, _ int64) { once(path) }
				default:
					h.read = once
				}
				r := read(t, h, log+"*")
				got := map[string]int64{}
				for _, g := range r.Groups {
					got[cmp.Or(g.Message, "old")] += g.Count // one was cut off before its message
				}
				if diff := gocmp.Diff(map[string]int64{"old": 20000, "new": 1}, got); diff != "" {
					t.Errorf("%+v\n%s", r.Files, diff)
				}
			})
		}
	}
}

// Of a large log only the part that may matter is read.
func TestSeeks(t *testing.T) {
	for name, big := range map[string]string{"one line a record": "", "tracebacks": strings.Repeat("  File \"x.py\", line 1, in f\n", 40000)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var b strings.Builder
			const lines = 200000
			for i := range lines { // the last 1 % of it since the cut-over, one second each
				b.WriteString(jsonAt(float64(i-lines*99/100), "INFO", "it goes on"))
				if i%20000 == 0 {
					b.WriteString(big)
				}
			}
			b.WriteString(jsonAt(-1, "ERROR", "too old, and late") + jsonAt(2000, "ERROR", "last"))
			content := strings.Replace(b.String(), jsonAt(-30, "INFO", "it goes on"), jsonAt(0.5, "ERROR", "early"), 1)
			write(t, dir+"/etf.log", content)
			f := read(t, host.Local{}, dir+"/etf.log").file(t, "etf.log")
			if f.Errors != 2 || f.Lines != 2000+2 || f.Bytes > 4<<20 {
				t.Errorf("of %d bytes: %+v", len(content), f)
			}
		})
	}
}

// A service that writes local time without saying so is understood.
func TestLocalTime(t *testing.T) {
	for _, offset := range []time.Duration{0, 2 * time.Hour, -5*time.Hour - 30*time.Minute} {
		file := t.TempDir() + "/etf.log"
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "%s ERROR app: x\n", cutOver.Add(offset+time.Duration(i-50)*time.Minute).Format("2006-01-02 15:04:05,000"))
		}
		write(t, file, b.String())
		touch(t, file, cutOver.Add(49*time.Minute+300*time.Millisecond))
		if f := read(t, host.Local{}, file).file(t, "etf.log"); f.Errors != 50 {
			t.Errorf("%s: %+v", offset, f)
		}
	}
}

func TestEnds(t *testing.T) {
	file := write(t, t.TempDir()+"/etf.log", strings.Repeat(jsonAt(1, "ERROR", "x"), 20000))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Read(ctx, acting{Host: host.Local{}, opened: func(string, int64) { cancel() }}, []string{file}, cutOver)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// failing is a host that lets nobody read.
type failing struct{ host.Host }

func (failing) Open(_ context.Context, path string, _ int64) (io.ReadCloser, host.FileInfo, error) {
	return nil, host.FileInfo{}, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
}

func TestUnreadable(t *testing.T) {
	file := write(t, t.TempDir()+"/etf.log", jsonAt(1, "ERROR", "x"))
	if f := read(t, failing{host.Local{}}, file).file(t, "etf.log"); !errors.Is(f.Err, fs.ErrPermission) {
		t.Errorf("got %+v", f)
	}
}

// Groups that nobody could read are not kept.
func TestManyGroups(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		b.WriteString(jsonAt(1, "ERROR", "kind "+strings.NewReplacer("0", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j").Replace(fmt.Sprint(i))))
	}
	r := read(t, host.Local{}, write(t, t.TempDir()+"/etf.log", b.String()))
	if len(r.Groups) != maxGroups || r.Errors != 2000 || r.Ungrouped != 2000-maxGroups {
		t.Errorf("%d groups, %d errors, %d ungrouped", len(r.Groups), r.Errors, r.Ungrouped)
	}
}
