package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

func TestTable(t *testing.T) {
	host.AddSecret("tops3cret")
	table := NewTable("STEP", "RESULT", "TIME", "WHERE")
	table.Right(2)
	table.Row("backup:create", "done", "2.3 s", "/srv/etf/backups/20261123T010203Z-abcdef12 with tops3cret in it")
	table.Row("öffnen", "failed", "12.0 s", "two\nlines\x1b[2J")
	table.Row("short")
	var out bytes.Buffer
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := `STEP           RESULT    TIME  WHERE
backup:create  done     2.3 s  /srv/etf/backups/20261123T010203Z-abcdef12 with *** in it
öffnen         failed  12.0 s  two
                               lines
short
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, width := range []int{120, 80, 60, 44} {
		got := table.render(terminal{colour: true}, width)
		for line := range strings.Lines(got) {
			if n := text.StringWidthWithoutEscSequences(strings.TrimRight(line, "\n ")); n > width {
				t.Errorf("width %d: a line of %d:\n%s", width, n, got)
			}
		}
		if !strings.Contains(got, "\x1b[32mdone") || strings.Contains(got, "\x1b[2J") {
			t.Errorf("width %d: colours: %q", width, got)
		}
	}
}

func TestFindings(t *testing.T) {
	host.AddSecret("tops3cret")
	f := Findings{Environment: "sandbox", At: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)}
	if f.Worst() != Unknown {
		t.Error("nothing looked at counts as a pass")
	}
	f.List = []Finding{
		{Check: "pre:rates", Status: OK, Looked: "521 003 prices", Found: "all covered", Do: "not shown"},
		{Check: "deps:redis", Status: Warning, Looked: "redis", Found: "tops3cret", Do: "look at it", Command: "redis-cli ping"},
	}
	if f.Worst() != Warning {
		t.Errorf("worst = %s", f.Worst())
	}
	f.List = append(f.List, Finding{Check: "pre:data", Status: Fault, Looked: "rows", Found: "one", Do: "repair it",
		Command: "python -m scripts.validate_etf_data", Details: map[string]int{"violations": 1}}, Finding{Check: "x", Status: "odd"})
	if f.Worst() != Fault {
		t.Errorf("worst = %s", f.Worst())
	}
	var out bytes.Buffer
	if err := f.Write(&out, true); err != nil {
		t.Fatal(err)
	}
	want := `CHECK       STATUS   LOOKED AT       FOUND        STANDS FOR
pre:rates   ok       521 003 prices  all covered
deps:redis  warning  redis           ***          redis-cli ping
pre:data    fault    rows            one          python -m scripts.validate_etf_data
x           odd

What to do
deps:redis: look at it
pre:data: repair it
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	out.Reset()
	if err := f.JSON(&out); err != nil {
		t.Fatal(err)
	}
	var read struct {
		Version     int
		Status      Status
		Environment string
		Findings    []Finding
	}
	if err := json.Unmarshal(out.Bytes(), &read); err != nil || strings.Contains(out.String(), "tops3cret") {
		t.Fatalf("%v:\n%s", err, &out)
	}
	if read.Version != 1 || read.Status != Fault || len(read.Findings) != 4 || read.Findings[2].Details == nil {
		t.Errorf("%+v", read)
	}
}
