package alembic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A counter is this machine, and counts the commands.
type counter struct {
	host.Local
	n *atomic.Int64
}

func (c counter) Run(ctx context.Context, command host.Command) (host.Result, error) {
	c.n.Add(1)
	return c.Local.Run(ctx, command)
}

// One start of Python tells all that is pending, what it runs and how it is
// taken back; what refuses is told from what cannot be judged.
func TestLook(t *testing.T) {
	c, _ := project(t, map[string]string{
		"d.py": migration("0004", "0003", "def upgrade(): op.execute('CREATE INDEX i ON etfs (note)')\ndef downgrade(): pass"),
		"e.py": migration("0005", "0004", "def upgrade(): op.execute('DROP TABLE prices')\ndef downgrade(): raise NotImplementedError('for good')"),
		"f.py": migration("0006", "0005", "def upgrade(): op.get_bind().execute('SELECT 1').scalar()\ndef downgrade(): op.get_bind().execute('SELECT 1').scalar()"),
		"g.py": migration("0007", "0006", "def upgrade(): pass\ndef downgrade(): pass"),
	}, nil)
	var starts atomic.Int64
	c.h = counter{n: &starts}
	outlook, err := c.Look(t.Context(), []string{"0001"})
	if err != nil || !slices.Equal(outlook.Heads, []string{"0007"}) || len(outlook.Pending) != 6 || starts.Load() != 1 {
		t.Fatalf("%+v, %v, %d starts", outlook, err, starts.Load())
	}
	var got []string
	for _, m := range outlook.Pending {
		there, judged, why := m.WayBack()
		got = append(got, fmt.Sprintf("%s %t %t %s", m.Revision, there, judged, why))
	}
	want := []string{"0002 true true ", "0003 true true ", "0004 false true its downgrade does nothing", "0005 false true its downgrade refuses: NotImplementedError: for good",
		"0006 false false its downgrade cannot be read beforehand: AttributeError: 'NoneType' object has no attribute 'scalar'", "0007 true true "}
	if !slices.Equal(got, want) {
		t.Errorf("ways back:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if m := outlook.Pending[4]; m.Up.SQL != "" || !strings.Contains(m.Up.Error, "AttributeError") || m.Up.Raised || outlook.Pending[0].Compatibility != Expand {
		t.Errorf("%+v", m)
	}
	if _, err := outlook.SQL(); err == nil || !strings.Contains(err.Error(), "migration 0006") {
		t.Errorf("SQL of what needs a connection: %v", err)
	}
	// Step by step it is what alembic writes for the whole way.
	outlook.Pending = outlook.Pending[:4]
	whole, err := c.SQL(t.Context(), "0001", "0005")
	if err != nil {
		t.Fatal(err)
	}
	if sql, err := outlook.SQL(); err != nil || statements(sql) != statements(whole) {
		t.Errorf("%v, %s\nis not\n%s", err, sql, whole)
	}
	if _, err := c.Look(t.Context(), []string{"gone"}); !errors.Is(err, ErrUnknownRevision) {
		t.Errorf("from an unknown revision: %v", err)
	}
}

func statements(sql string) string {
	var b strings.Builder
	for _, s := range split(sql) {
		if s.text != "BEGIN" && s.text != "COMMIT" {
			b.WriteString(s.text + "\n")
		}
	}
	return b.String()
}

// Several heads are an answer.
func TestLookAtSeveralHeads(t *testing.T) {
	c, _ := project(t, branches, nil)
	outlook, err := c.Look(t.Context(), nil)
	if err != nil || !slices.Equal(outlook.Heads, []string{"000x", "000y"}) || len(outlook.Pending) != 0 {
		t.Errorf("%+v, %v", outlook, err)
	}
}

var branches = map[string]string{
	"x.py": migration("000x", "0003", "def upgrade(): op.execute('ALTER TABLE etfs ADD COLUMN x int')\ndef downgrade(): op.drop_column('etfs', 'x')"),
	"y.py": migration("000y", "0003", "def upgrade(): op.execute('ALTER TABLE etfs ADD COLUMN y int')\ndef downgrade(): op.drop_column('etfs', 'y')"),
}

// Where branches are merged each is followed.
func TestLookAtMergedBranches(t *testing.T) {
	files := maps.Clone(branches)
	files["z.py"] = strings.Replace(migration("000z", "000x", "def upgrade(): pass\ndef downgrade(): pass"), `= "000x"`, `= ("000x", "000y")`, 1)
	c, _ := project(t, files, nil)
	for from, pending := range map[string]int{"": 6, "000x": 2, "000x,000y": 1} {
		outlook, err := c.Look(t.Context(), strings.FieldsFunc(from, func(r rune) bool { return r == ',' }))
		if err != nil || !slices.Equal(outlook.Heads, []string{"000z"}) || len(outlook.Pending) != pending {
			t.Errorf("from %q: %+v, %v", from, outlook, err)
		}
		for _, m := range outlook.Pending {
			if there, _, why := m.WayBack(); !there || m.Up.Error != "" {
				t.Errorf("from %q: %s: %s, %+v", from, m.Revision, why, m.Up)
			}
		}
	}
}
