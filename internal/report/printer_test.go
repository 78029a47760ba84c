package report

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 23, 2, 1, 7, 0, time.UTC)} }

func TestPlain(t *testing.T) {
	host.AddSecret("tops3cret")
	var out bytes.Buffer
	p, c := NewPrinter(&out), newClock()
	p.now = c.now
	p.Started("backup:create")
	for i := range 12 {
		c.add(time.Second)
		p.Progress("backup:create", int64(i), 12, fmt.Sprintf("%d MB", i))
	}
	p.Log("backup:create", "pg_dump: \x1b[31mred\x1b[0m tops3cret\r\n\n50%\r100%\r\nend")
	p.Finished("backup:create", Done, 2300*time.Millisecond, "412 MB, 9 tables, 521 003 rows")
	p.Finished("release:migrate", Failed, time.Second, "alembic: exit 1\nrelation exists\n")
	p.Print("two\nlines")
	p.Started("services:start")
	p.Close()
	want := `02:01:07Z  backup:create         started
02:01:12Z  backup:create         running   33 %  4 MB
02:01:17Z  backup:create         running   75 %  9 MB
02:01:19Z  backup:create         log       pg_dump: red ***
02:01:19Z  backup:create         log       100%
02:01:19Z  backup:create         log       end
02:01:19Z  backup:create         done          2.3 s  412 MB, 9 tables, 521 003 rows
02:01:19Z  release:migrate       failed        1.0 s  alembic: exit 1
02:01:19Z  release:migrate                 relation exists
two
lines
02:01:19Z  services:start        started
02:01:19Z  services:start        interrupted       0 ms
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// live is a Printer on a screen; its ticker does not run, so that what is
// drawn follows from the calls alone.
func live(t *testing.T, width, height int) (*Printer, *screen, *clock) {
	s, c := &screen{t: t, width: width}, newClock()
	term := terminal{live: true, ascii: true, colour: true, size: func() (int, int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.width, height
	}}
	return &Printer{w: s, term: term, now: c.now, wide: 20, stop: func() {}}, s, c
}

func TestLive(t *testing.T) {
	p, s, c := live(t, 80, 24)
	p.Started("pre:data")
	p.Started("backup:create")
	p.Progress("backup:create", 500, 1000, "500 MB of 1.0 GB")
	c.add(2 * time.Second)
	p.Log("pre:data", "a line that a command printed")
	p.Started("pre:rates")
	p.Finished("pre:data", Done, 2*time.Second, "521 003 rows")
	want := `  pre:data: a line that a command printed
+ pre:data                  2.0 s  521 003 rows
| backup:create             2.0 s  ##########..........   50 %  500 MB of 1.0 G
| pre:rates                  0 ms
`
	if diff := cmp.Diff(want, s.text()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// Narrower: what was drawn takes more rows now, and all of them are cleared.
	s.resize(30)
	p.Finished("pre:rates", Skipped, 0, "no prices yet")
	p.Print("full line of thirty characters")
	want = `  pre:data: a line that a comm
and printed
+ pre:data                  2.
0 s  521 003 rows
- pre:rates                  0
 ms  skipped: no prices yet
full line of thirty characters
| backup:create  2.0 s   50 %
`
	if diff := cmp.Diff(want, s.text()); diff != "" {
		t.Errorf("narrow: -want +got:\n%s", diff)
	}
	s.resize(80)
	p.Finished("backup:create", Failed, 3*time.Second, "pg_dump: exit 1\nno room")
	p.Close()
	if got := s.text(); !strings.HasSuffix(got, "\nx backup:create             3.0 s  failed: pg_dump: exit 1\n    no room\n") {
		t.Errorf("end:\n%s", got)
	}
}

func TestMoreStepsThanRows(t *testing.T) {
	p, s, _ := live(t, 40, 4)
	for i := range 6 {
		p.Started(fmt.Sprintf("step:%d", i))
	}
	if got, want := s.text(), "| step:0  0 ms\n| step:1  0 ms\n  and 4 more\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for i := range 6 {
		p.Finished(fmt.Sprintf("step:%d", i), Done, 0, "")
	}
	if got := strings.Count(s.text(), "\n"); got != 6 {
		t.Errorf("%d lines at the end:\n%s", got, s.text())
	}
}

// Steps side by side, with the ticker running: no event is lost, and nothing
// is left over at the bottom.
func TestSideBySide(t *testing.T) {
	s := &screen{t: t, width: 70}
	p := newPrinter(s, terminal{live: true, size: func() (int, int) { return 70, 50 }})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("step:%d", i)
			p.Started(name)
			for n := range 40 {
				p.Progress(name, int64(n), 40, strings.Repeat("x", n*3))
				p.Log(name, fmt.Sprintf("line %d %s", n, strings.Repeat("y", n*2)))
				time.Sleep(5 * time.Millisecond)
			}
			p.Finished(name, Done, time.Second, "")
		})
	}
	wg.Wait()
	p.Close()
	got := s.text()
	for i := range 8 {
		if strings.Count(got, fmt.Sprintf("✓ step:%d ", i)) != 1 || strings.Count(got, fmt.Sprintf("step:%d: line ", i)) != 40 {
			t.Fatalf("lines of step %d are missing or repeated:\n%s", i, got)
		}
	}
	if strings.ContainsAny(got, "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏█") {
		t.Errorf("left over:\n%s", got)
	}
}
