package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

var (
	ctx   = context.Background()
	local = host.Local{}
)

// clock is a time that passes by a second at each look.
func clock() func() time.Time {
	now := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	var mu sync.Mutex
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

var header = journal.Header{
	ID: "20261123T010203Z-deploy-abcdef", Kind: "deploy", By: "me@here", Token: 42,
	Process: host.Process{PID: 1, Start: 2, Boot: "boot"}, Run: "https://ci/1", Reason: "because",
}

func create(t *testing.T) (*journal.Journal, string) {
	t.Helper()
	dir := t.TempDir()
	j, err := journal.Create(ctx, local, filepath.Join(dir, "journal"), header, clock())
	if err != nil {
		t.Fatal(err)
	}
	return j, j.Path()
}

func add(t *testing.T, j *journal.Journal, records ...journal.Record) {
	t.Helper()
	for _, r := range records {
		if err := j.Append(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, file string) journal.Log {
	t.Helper()
	log, err := journal.Read(ctx, local, file)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func write(t *testing.T, file string, parts ...string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(strings.Join(parts, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWrittenAndReadBack(t *testing.T) {
	j, file := create(t)
	child := host.Process{PID: 7, Start: 8, Boot: "boot"}
	add(t, j,
		journal.Record{Type: journal.Start, Step: "a", Digest: "d"},
		journal.Record{Type: journal.Child, Step: "a", Process: &child, Text: "pip"},
		journal.Record{Type: journal.Note, Key: "k", Value: []byte(`{"x":1}`)},
		journal.Record{Type: journal.Done, Step: "a", Millis: 12, Text: "odd\nline \u2028 \x00"},
		journal.Record{Type: journal.End, Outcome: journal.Succeeded})
	got := read(t, file)
	if diff := cmp.Diff(j.Log().Records, got.Records); diff != "" {
		t.Errorf("remembered (-) and read (+) differ:\n%s", diff)
	}
	if diff := cmp.Diff(header, got.Header()); diff != "" {
		t.Error(diff)
	}
	if got.Outcome() != journal.Succeeded || len(got.Records) != 6 || got.Torn != "" {
		t.Errorf("got %+v", got)
	}
	if n := strings.Count(content(t, file), "\n"); n != 6 {
		t.Errorf("6 records lie in %d lines", n)
	}
	for name, want := range map[string]fs.FileMode{file: 0o600, filepath.Dir(file): fs.ModeDir | 0o700} {
		if st, err := os.Stat(name); err != nil || st.Mode() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, st.Mode(), err, want)
		}
	}
}

func TestCreateOnce(t *testing.T) {
	j, file := create(t)
	add(t, j, journal.Record{Type: journal.Start, Step: "a"})
	before := content(t, file)
	if _, err := journal.Create(ctx, local, filepath.Dir(file), header, clock()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrExist)
	}
	if content(t, file) != before {
		t.Error("it was changed")
	}
	for _, id := range []string{"", "x", "../20261123T010203Z-deploy-abcdef", "20261123T010203Z-deploy-abcdef/..", "20261123T010203Z-Deploy-abcdef"} {
		h := header
		h.ID = id
		if _, err := journal.Create(ctx, local, filepath.Dir(file), h, clock()); err == nil {
			t.Errorf("%q passed as an operation id", id)
		}
	}
}

func TestNewID(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 2, 3, 0, time.FixedZone("", 7200))
	for kind, want := range map[string]string{"deploy": "20261123T010203Z-deploy-", "data:verifyRestoration": "20261123T010203Z-data-verifyrestoration-"} {
		h := header
		h.ID = journal.NewID(kind, now)
		if !strings.HasPrefix(h.ID, want) || h.ID == journal.NewID(kind, now) {
			t.Errorf("got %s, want %s… and never twice the same", h.ID, want)
		}
		if _, err := journal.Create(ctx, local, t.TempDir(), h, clock()); err != nil {
			t.Error(err)
		}
	}
}

// A crash may cut the last record off anywhere, and the next one the record
// that declares it, and so on.
func TestTornAtEveryByte(t *testing.T) {
	j, file := create(t)
	add(t, j, journal.Record{Type: journal.Start, Step: "a"})
	whole := content(t, file)
	add(t, j, journal.Record{Type: journal.Done, Step: "a", Text: "the last ä"})
	last := strings.TrimPrefix(content(t, file), whole)
	for cut := range len(last) + 1 {
		for _, feed := range []string{"", "\n"} {
			write(t, file, whole, last[:cut], feed)
			name := fmt.Sprintf("cut after byte %d, then %q", cut, feed)
			wantRecords, wantTorn := 2, last[:cut]
			if cut >= len(last)-1 { // all but the line feed is a whole record
				wantRecords, wantTorn = 3, ""
			}
			log := read(t, file)
			if len(log.Records) != wantRecords || log.Torn != wantTorn {
				t.Fatalf("%s: read %d records and %q, want %d and %q", name, len(log.Records), log.Torn, wantRecords, wantTorn)
			}
			j, err := journal.Open(ctx, local, file, clock())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			add(t, j, journal.Record{Type: journal.Start, Step: "b"}, journal.Record{Type: journal.Done, Step: "b"})
			log = read(t, file)
			if diff := cmp.Diff(j.Log().Records, log.Records); diff != "" || log.Torn != "" {
				t.Fatalf("%s: gone on, remembered (-) and read (+) differ, torn %q:\n%s", name, log.Torn, diff)
			}
			if b, ok := log.Step("b"); !ok || b.Type != journal.Done || !strings.HasPrefix(content(t, file), whole+last[:cut]) {
				t.Fatalf("%s: step b is %+v in\n%s", name, b, content(t, file))
			}
			torn := 0
			for _, r := range log.Records {
				if r.Type == journal.Torn {
					torn++
				}
			}
			if want := cut > 0 && cut < len(last)-1; want && torn != 1 {
				t.Fatalf("%s: %d records say that one was cut off", name, torn)
			}
		}
	}
}

// The second crash comes while the first one's trace is being declared.
func TestTornAgain(t *testing.T) {
	j, file := create(t)
	add(t, j, journal.Record{Type: journal.Start, Step: "a"})
	whole := content(t, file)
	const cut = `{"v":1,"t":"2026-`
	write(t, file, whole, cut)
	if _, err := journal.Open(ctx, local, file, clock()); err != nil {
		t.Fatal(err)
	}
	declared := strings.TrimPrefix(content(t, file), whole+cut)
	for n := range len(declared) {
		write(t, file, whole, cut, declared[:n])
		j, err := journal.Open(ctx, local, file, clock())
		if err != nil {
			t.Fatalf("after byte %d of %q: %v", n, declared, err)
		}
		add(t, j, journal.Record{Type: journal.Done, Step: "a"})
		if a, ok := read(t, file).Step("a"); !ok || a.Type != journal.Done {
			t.Fatalf("after byte %d: step a is %+v", n, a)
		}
	}
}

func TestZerosAtTheEnd(t *testing.T) {
	j, file := create(t)
	add(t, j, journal.Record{Type: journal.Start, Step: "a"})
	// What some file systems show after a power cut.
	write(t, file, content(t, file), strings.Repeat("\x00", 100))
	if _, err := journal.Open(ctx, local, file, clock()); err != nil {
		t.Fatal(err)
	}
	if log := read(t, file); len(log.Records) != 3 || log.Records[2].Type != journal.Torn {
		t.Errorf("got %+v", log.Records)
	}
}

func TestDamage(t *testing.T) {
	j, file := create(t)
	add(t, j, journal.Record{Type: journal.Start, Step: "a"}, journal.Record{Type: journal.Done, Step: "a"}, journal.Record{Type: journal.Start, Step: "b"})
	lines := strings.SplitAfter(content(t, file), "\n")
	for name, test := range map[string]struct {
		content string
		records int // that can be trusted
		says    []string
	}{
		"a middle line":            {lines[0] + lines[1] + "{\"v\":1,\n" + lines[3], 2, []string{"line 3", "damaged", "lines before"}},
		"two lines run together":   {lines[0] + strings.TrimSuffix(lines[1], "\n") + lines[2] + lines[3], 1, []string{"line 2", "damaged"}},
		"another kind of JSON":     {lines[0] + "null\n" + lines[2], 1, []string{"line 2", "damaged"}},
		"an empty object":          {lines[0] + "{}\n" + lines[2], 1, []string{"line 2", "damaged"}},
		"the first line":           {"x\n" + lines[1], 0, []string{"line 1", "damaged"}},
		"no beginning":             {lines[1] + lines[2], 2, []string{"does not begin"}},
		"only a torn beginning":    {lines[0][:20], 0, []string{"does not begin"}},
		"empty":                    {"", 0, []string{"does not begin"}},
		"a newer version":          {lines[0] + strings.Replace(lines[1], `"v":1`, `"v":2`, 1) + lines[2], 1, []string{"line 2", "newer", "1"}},
		"a newer version, last":    {lines[0] + strings.Replace(lines[1], `"v":1`, `"v":2`, 1), 1, []string{"line 2", "newer"}},
		"a newer version, changed": {lines[0] + `{"v":3,"type":{"name":"start"}}` + "\n", 1, []string{"line 2", "newer"}},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, file, test.content)
			log, err := journal.Read(ctx, local, file)
			if err == nil {
				t.Fatalf("read as %+v", log)
			}
			for _, part := range append(test.says, file) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
			if len(log.Records) != test.records {
				t.Errorf("%d records are handed out, want %d", len(log.Records), test.records)
			}
			if _, err := journal.Open(ctx, local, file, clock()); err == nil {
				t.Error("it could be gone on with")
			}
			if content(t, file) != test.content {
				t.Error("it was changed")
			}
		})
	}
	write(t, file, lines...)
	read(t, file) // the lines themselves are sound
	if _, err := journal.Open(ctx, local, file+"x", clock()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing one: got error %v", err)
	}
}

// fullDisk writes what fits and fails, as a full disk does.
type fullDisk struct {
	host.Local
	room int // of the next Append; -1: enough
}

var errNoSpace = errors.New("no space left on device")

func (d *fullDisk) Append(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if d.room < 0 {
		return d.Local.Append(ctx, path, data, mode)
	}
	n := min(d.room, len(data))
	d.room = -1
	if err := d.Local.Append(ctx, path, data[:n], mode); err != nil {
		return err
	}
	return errNoSpace
}

// A record that could only be written in part must not spoil the next one,
// which says what happened.
func TestDiskFull(t *testing.T) {
	for _, room := range []int{0, 1, 10, 50, 10_000} {
		disk := &fullDisk{room: -1}
		j, err := journal.Create(ctx, disk, t.TempDir(), header, clock())
		if err != nil {
			t.Fatal(err)
		}
		add(t, j, journal.Record{Type: journal.Start, Step: "backup:create"})
		disk.room = room
		if err := j.Append(ctx, journal.Record{Type: journal.Note, Key: "k", Value: []byte("1")}); !errors.Is(err, errNoSpace) {
			t.Fatalf("got error %v", err)
		}
		add(t, j, journal.Record{Type: journal.Failed, Step: "backup:create", Text: "disk full"})
		if s, ok := read(t, j.Path()).Step("backup:create"); !ok || s.Type != journal.Failed || s.Text != "disk full" {
			t.Errorf("after %d bytes of a record: %+v", room, s)
		}
	}
}

func TestSideBySide(t *testing.T) {
	j, file := create(t)
	const writers, each = 8, 10
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for k := range each {
				err := j.Append(ctx, journal.Record{Type: journal.Note, Key: fmt.Sprint(i), Value: []byte(fmt.Sprint(k))})
				if err != nil {
					t.Error(err)
				}
				j.Log().Steps()
			}
		})
	}
	all.Wait()
	log := read(t, file)
	if diff := cmp.Diff(j.Log().Records, log.Records); diff != "" || len(log.Records) != 1+writers*each {
		t.Errorf("%d records; remembered (-) and read (+) differ:\n%s", len(log.Records), diff)
	}
	for i := range writers {
		var k int
		if ok, err := log.Fact(fmt.Sprint(i), &k); !ok || err != nil || k != each-1 {
			t.Errorf("the last of writer %d is %d, %v, %v", i, k, ok, err)
		}
	}
}

// What happened is written also when a signal has ended the context.
func TestAppendOutlivesContext(t *testing.T) {
	j, file := create(t)
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := j.Append(over, journal.Record{Type: journal.Failed, Step: "a", Text: "interrupted"}); err != nil {
		t.Fatal(err)
	}
	if log := read(t, file); len(log.Records) != 2 {
		t.Errorf("got %+v", log.Records)
	}
}

func TestTextsAreRedacted(t *testing.T) {
	host.AddSecret("journal-secret")
	j, file := create(t)
	add(t, j, journal.Record{Type: journal.Failed, Step: "a", Text: "login with journal-secret refused"})
	if b := content(t, file); strings.Contains(b, "journal-secret") || !strings.Contains(b, "login with *** refused") {
		t.Error(b)
	}
	if got := j.Log().Last().Text; got != "login with *** refused" {
		t.Errorf("remembered as %q", got)
	}
	// A fact is data: a path that holds a password's word stays a path.
	add(t, j, journal.Record{Type: journal.Note, Key: "path", Value: []byte(`"/srv/journal-secret"`)})
	var path string
	if ok, err := read(t, file).Fact("path", &path); !ok || err != nil || path != "/srv/journal-secret" {
		t.Errorf("got %q, %v, %v", path, ok, err)
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	if logs, err := journal.Newest(ctx, local, filepath.Join(dir, "missing"), nil); len(logs) > 0 || err != nil {
		t.Errorf("a missing folder: got %v, %v", logs, err)
	}
	ids := []string{"20261123T010203Z-deploy-ffffff", "20261124T010203Z-backup-create-000000", "20261123T010204Z-deploy-000000"}
	for _, id := range ids {
		h := header
		h.ID = id
		if _, err := journal.Create(ctx, local, dir, h, clock()); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"notes.txt", "x.jsonl", ".20261125T010203Z-deploy-000000.jsonl.123"} {
		write(t, filepath.Join(dir, other), "no journal")
	}
	damaged := filepath.Join(dir, "20261123T020204Z-deploy-000000.jsonl")
	write(t, damaged, "rubbish\n")
	logs, err := journal.Newest(ctx, local, dir, nil)
	if err == nil || !strings.Contains(err.Error(), damaged) || strings.Contains(err.Error(), "x.jsonl") {
		t.Errorf("got error %v, want one about the damaged journal alone", err)
	}
	var got []string
	for _, l := range logs {
		got = append(got, l.Header().ID)
	}
	if diff := cmp.Diff([]string{ids[1], ids[2], ids[0]}, got); diff != "" {
		t.Errorf("want the newest first:\n%s", diff)
	}
	// What lies before the last one that matters is not even read.
	logs, err = journal.Newest(ctx, local, dir, func(l journal.Log) bool { return l.Header().ID == ids[1] })
	if len(logs) != 1 || logs[0].Header().ID != ids[1] || err != nil {
		t.Errorf("as far as the newest: got %v, %v", logs, err)
	}
}

func TestFileIsOnlyAppendedTo(t *testing.T) {
	j, file := create(t)
	before := content(t, file)
	for i := range 5 {
		j, err := journal.Open(ctx, local, file, clock())
		if err != nil {
			t.Fatal(err)
		}
		add(t, j, journal.Record{Type: journal.HandOver, Process: &host.Process{PID: 100 + i}, Token: int64(100 + i)})
		now := content(t, file)
		if !strings.HasPrefix(now, before) || bytes.Count([]byte(now), []byte("\n")) != i+2 {
			t.Fatalf("it held\n%s\nand holds\n%s", before, now)
		}
		before = now
	}
	if got := read(t, file).Token(); got != 104 || j.Log().Token() != header.Token {
		t.Errorf("it is worked on under token %d", got)
	}
}

// A fact behind the end would open the operation again; going on with it is
// said first.
func TestNoFactBehindTheEnd(t *testing.T) {
	j, file := create(t)
	note := journal.Record{Type: journal.Note, Key: "k", Value: []byte("1")}
	add(t, j, note, journal.Record{Type: journal.End, Outcome: journal.Left})
	if err := j.Append(ctx, note); !errors.Is(err, journal.ErrEnded) {
		t.Errorf("%v", err)
	}
	if got := read(t, file).Outcome(); got != journal.Left {
		t.Errorf("the outcome is %q", got)
	}
	add(t, j, journal.Record{Type: journal.HandOver}, note)
}

// Of each kind as many are read as are wanted, newest first.
func TestEach(t *testing.T) {
	dir := t.TempDir()
	for i, kind := range []string{"deploy", "backup:create", "deploy", "deploy"} {
		id := journal.NewID(kind, time.Date(2026, 11, 23, i, 0, 0, 0, time.UTC))
		if _, err := journal.Create(ctx, local, dir, journal.Header{ID: id, Kind: kind}, clock()); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "20261123T050000Z-deploy-abcdef.jsonl"), "{}\nx\n{}\n")
	var ids, read []string
	err := journal.Each(ctx, local, dir, func(id, kind string) bool {
		ids = append(ids, id)
		return kind == "deploy" && len(read) < 2
	}, func(log journal.Log) { read = append(read, log.Header().ID[:11]) })
	if err == nil || !strings.Contains(err.Error(), "20261123T050000Z") || len(ids) != 5 || !cmp.Equal(read, []string{"20261123T03", "20261123T02"}) {
		t.Errorf("%v, chosen of %v, %v", read, ids, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := journal.Each(ended, local, dir, func(string, string) bool { return true }, func(journal.Log) { t.Error("read") }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// How an operation ended is read from the end of its journal, whatever lies
// there.
func TestOutcomeFromTheEnd(t *testing.T) {
	j, file := create(t)
	outcome := func() string {
		t.Helper()
		got, err := journal.Outcome(ctx, local, file)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for range 200 {
		add(t, j, journal.Record{Type: journal.Note, Key: "k", Value: []byte(`"` + strings.Repeat("v", 100) + `"`)})
	}
	if got := outcome(); got != "" {
		t.Errorf("of one that has not ended: %q", got)
	}
	add(t, j, journal.Record{Type: journal.End, Outcome: journal.Succeeded})
	if got := outcome(); got != journal.Succeeded {
		t.Errorf("%q", got)
	}
	add(t, j, journal.Record{Type: journal.HandOver}, journal.Record{Type: journal.End, Outcome: journal.Left, Text: strings.Repeat("why ", 5000)})
	if got := outcome(); got != journal.Left {
		t.Errorf("with a long text: %q", got)
	}
	write(t, file, content(t, file), `{"v":1,"type":"ha`)
	if got := outcome(); got != journal.Left {
		t.Errorf("with a line that was cut off: %q", got)
	}
	if _, err := journal.Outcome(ctx, local, file+"x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
