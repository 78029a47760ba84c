package rollback

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

func badInput(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"rollback:immediate", "-to=-rf"}, 2, `-to="-rf"`},
		{[]string{"rollback:immediate", "-to=deadbeef"}, 2, `no release "deadbeef"`},
		{[]string{"rollback:immediate", "-to=" + before}, 2, "is the live one"},
		{[]string{"rollback:immediate", "-path=sideways", "-carry=some"}, 2, `-path="sideways"`},
		{[]string{"rollback:immediate", "-path=sideways", "-carry=some"}, 2, `-carry="some"`},
		{[]string{"rollback:immediate", "-path=code"}, 3, "the database is at 0003"},
		{[]string{"rollback:immediate", "-backup=20200101T000000Z-deadbeef"}, 2, "there is no backup"},
		{[]string{"rollback:plan", "-backup=../../etc"}, 2, `-backup="../../etc"`},
		{[]string{"rollback:gradual", "-to=--help"}, 2, `--help`},
		{[]string{"data:restore", "-table=-x"}, 2, "-x"},
	} {
		r := s.Mage(t, c.code, append(c.args, "-yes")[:len(c.args)+btoi(c.args[0] != "rollback:plan")]...)
		if !strings.Contains(r.Stderr, c.says) {
			t.Errorf("%v does not say %q:\n%s", c.args, c.says, r.Stderr)
		}
	}
	s.ServesAgain(t, before)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func downgrade(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.Mage(t, 0, "deploy")
	left := s.Serves(t)
	if p := plan(t, s); p.Path != "downgrade" || p.To.Ref != "v1.2" {
		t.Errorf("%+v", p)
	}
	post(t, s, "/api/v1/etf", map[string]any{"id": "KEPT.DE", "symbol": "KEPT.DE", "name": "Written by the newer release", "isin": "IE00B4L5Y983", "currency": "EUR"})
	answers, failed := s.UnderLoad(t, func() { s.Mage(t, 0, "rollback:immediate", "-yes") })
	if len(failed) > 0 || answers < 200 {
		t.Errorf("%d of %d answers failed, the first: %v", len(failed), answers, failed[:min(3, len(failed))])
	}
	t.Logf("%d answers, none failed", answers)
	if after := s.Serves(t); after != before {
		t.Errorf("%s serves, want %s", after, before)
	}
	if n := query[int](t, s, "", "select count(*) from etfs where id = 'KEPT.DE'"); n != 1 {
		t.Error("a row that was written is gone")
	}
	r := s.Mage(t, 2, "rollback:immediate", "-yes", "-to="+left)
	if !strings.Contains(r.Stderr, "rolled-back") {
		t.Errorf("the release that was left is a candidate:\n%s", r.Stderr)
	}
}

// useFeature deploys the feature and writes to what it brought: from there on
// only a restore leads back.
func useFeature(t *testing.T, s *stack.Stack) {
	t.Helper()
	s.Mage(t, 0, "deploy")
	post(t, s, "/api/v1/etf", map[string]any{
		"id": "NEW.DE", "symbol": "NEW.DE", "name": "Listed since", "isin": "IE00B3RBWM25", "currency": "EUR", "replication_method": "physical",
	})
	exec(t, s, "update etfs set name = 'Renamed since' where id = 'E0001.US'")
	exec(t, s, "delete from etf_prices where id = 7")
	if p := plan(t, s); p.Path != "restore" || !strings.Contains(strings.Join(p.Reasons, "\n"), "etfs.replication_method") {
		t.Errorf("%+v", p)
	} else if i := slices.IndexFunc(p.Written.Tables, func(d struct {
		Table                   string
		Added, Changed, Deleted int64
	},
	) bool {
		return d.Table == "public.etfs" && d.Added == 1 && d.Changed >= 1
	}); i < 0 {
		t.Errorf("rows written since: %+v", p.Written)
	}
}

func badBackups(t *testing.T, s *stack.Stack) {
	useFeature(t, s)
	before := s.Status(t)
	dir := filepath.Join(s.Env["ETF_ROOT"], "backups", plan(t, s).Backup.ID)
	dump, manifest := filepath.Join(dir, "database.dump"), filepath.Join(dir, "manifest.json")
	for _, c := range []struct {
		name, file, says string
		spoil            func([]byte) []byte
	}{
		{"truncated", dump, "size", func(b []byte) []byte { return b[:len(b)/2] }},
		{"altered", dump, "checksum", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"missing", dump, "is not there", func([]byte) []byte { return nil }},
		{"of another database", manifest, "of database other", replaced(`"database": "goldfinch"`, `"database": "other"`)},
		{"of another server", manifest, "another PostgreSQL server", replaced(`"system_identifier": "`, `"system_identifier": "1`)},
		{"too large for the disk", manifest, "no room", replaced(`"database_size": `, `"database_size": 99999999`)},
	} {
		content, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		if spoilt := c.spoil(bytes.Clone(content)); spoilt == nil {
			err = os.Remove(c.file)
		} else {
			err = os.WriteFile(c.file, spoilt, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := s.Mage(t, 3, "rollback:immediate", "-yes", "-path=restore")
		if !strings.Contains(r.Stderr, c.says) {
			t.Errorf("%s: it does not say %q:\n%s", c.name, c.says, r.Stderr)
		}
		if after := s.Status(t); !slices.Equal(after.Processes, before.Processes) || after.Live.ID != before.Live.ID {
			t.Errorf("%s: the service was touched: %+v", c.name, after)
		}
		if err := os.WriteFile(c.file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Serves(t)
}

func replaced(old, with string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(with), 1) }
}

func killedRestore(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.MageEnv(t, stack.Faults("rollback:prepare:during=kill"), -1, "rollback:immediate", "-yes")
	if st := s.Status(t); st.Operation.Outcome != "interrupted" || !strings.HasPrefix(st.Next, "resume") {
		t.Errorf("%+v, next: %s", st.Operation, st.Next)
	}
	s.ServesAgain(t, before)
	// A second one tidies up after the first, and goes its own way.
	s.MageEnv(t, stack.Faults("rollback:written:during=fail"), 1, "rollback:immediate", "-yes")
	s.ServesAgain(t, before)
	if names := sides(t, s); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

func sides(t *testing.T, s *stack.Stack) []string {
	t.Helper()
	return query[[]string](t, s, "", `select coalesce(array_agg(datname::text), '{}') from pg_database where datname like 'goldfinch\_side\_%'`)
}

func restoreKeeps(t *testing.T, s *stack.Stack) {
	r := s.Mage(t, 0, "rollback:immediate", "-yes", "-carry=none")
	s.Serves(t)
	if st := s.Status(t); st.Live.Ref != "v1.2" || st.Database != "0003" {
		t.Errorf("%+v", st.Live)
	}
	if n := query[int](t, s, "", "select count(*) from etfs where id = 'NEW.DE' or name = 'Renamed since'"); n != 0 {
		t.Error("rows written since are there")
	}
	var kept string
	for line := range strings.Lines(r.Stderr) {
		if name, ok := strings.CutPrefix(line, "kept database"); ok {
			kept = strings.TrimSpace(name)
		}
	}
	if n := query[int](t, s, kept, "select count(*) from etfs where id = 'NEW.DE' and replication_method = 'physical' or name = 'Renamed since'"); n != 2 {
		t.Errorf("the kept database %q has %d of two rows", kept, n)
	}
	if next, there := query[int](t, s, "", "select last_value from etf_updates_id_seq"), query[int](t, s, kept, "select max(id) from etf_updates"); next < there {
		t.Errorf("update %d is given out again, %d is in the kept database", next+1, there)
	}
	files, _ := filepath.Glob(filepath.Join(s.Env["ETF_ROOT"], "ops", "rollback", "*", "written.csv"))
	listed, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(listed)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NEW.DE", "Renamed since", `{"id": 7}`} {
		if !slices.ContainsFunc(rows, func(row []string) bool { return strings.Contains(strings.Join(row, " "), want) }) {
			t.Errorf("%s is not listed:\n%s", want, listed)
		}
	}
	// The backups' list says what is kept, and until when.
	var backups struct {
		Kept []struct{ Name, Reason string }
	}
	if err := json.Unmarshal([]byte(s.Mage(t, 0, "backup:list", "-json").Stdout), &backups); err != nil || len(backups.Kept) == 0 {
		t.Errorf("%+v, %v", backups, err)
	}
	if got := query[int](t, s, "", "select count(*) from etf_prices where id = 7"); got != 1 {
		t.Error("a row that was deleted since is not back")
	}
}

func restoreCarries(t *testing.T, s *stack.Stack) {
	useFeature(t, s)
	s.Mage(t, 0, "rollback:immediate", "-yes", "-carry=all")
	s.Serves(t)
	if n := query[int](t, s, "", "select count(*) from etfs where id = 'NEW.DE' or name = 'Renamed since'"); n != 2 {
		t.Errorf("%d of two rows were carried over", n)
	}
	if got := query[int](t, s, "", "select count(*) from etf_prices where id = 7"); got != 0 {
		t.Error("a row that was deleted since is back")
	}
	// What comes next does not collide with what was carried.
	update(t, s, "E0000.DE", "prices_only")
	post(t, s, "/api/v1/etf/NEW.DE/prices", map[string]any{"date": "2026-11-20", "price": 12.5})
}

func rollbackOfRollback(t *testing.T, s *stack.Stack) {
	s.Mage(t, 0, "rollback:immediate", "-yes")
	s.Serves(t)
	if st := s.Status(t); st.Live.Ref != "v1.1" || st.Database != "0002" {
		t.Errorf("%+v", st.Live)
	}
	r := s.Mage(t, 3, "rollback:immediate", "-yes")
	if !strings.Contains(r.Stderr, "no verified release besides the live one") {
		t.Errorf("it does not say that there is none left:\n%s", r.Stderr)
	}
	s.Mage(t, 0, "deploy", "-ref=v1.2")
	s.Serves(t)
}
