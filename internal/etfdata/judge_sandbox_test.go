package etfdata

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The sandbox's scenario in all phases of the exchange rates: a release that
// stores prices unconverted updates some ETFs and rewrites one's whole
// history; a good one comes after it. What is right is known from the formula.
func TestSandboxScenario(t *testing.T) {
	for phase := range 10 {
		form, since := []string{"1.0", "1.1"}[phase%2], 1+phase*3%10 // days from the backup to the corrupting release's updates
		name := fmt.Sprintf("phase_%d_since_%d_form_%s", phase, since, strings.ReplaceAll(form, ".", "_"))
		t.Run(name, func(t *testing.T) { sandboxScenario(t, name, form, phase, since) })
	}
}

func sandboxScenario(t *testing.T, name, form string, phase, since int) {
	var symbols []string
	for i := range 16 {
		symbols = append(symbols, fmt.Sprintf("E%04d.%s", i, []string{"DE", "US", "L", "SW"}[i%4]))
	}
	backup := day("2026-01-07").AddDate(0, 0, 40*phase+phase)
	s := &service{judged: newJudged(t, name, form), sourced: form == "1.1"}
	s.load(symbols, backup.AddDate(0, 0, -400), backup)
	s.backUp()
	bad, good := backup.AddDate(0, 0, since), backup.AddDate(0, 0, since+1)
	xids := [2]uint64{s.xid()}
	s.corrupting = true
	for _, symbol := range symbols[:12] {
		s.update(symbol, "prices_only", bad)
	}
	for _, symbol := range symbols[5:8] { // USD, pence, CHF
		s.update(symbol, "full", bad)
	}
	xids[1] = s.xid()
	s.corrupting = false
	for _, symbol := range symbols[8:] {
		s.update(symbol, "prices_only", good)
	}
	s.exec("UPDATE etfs SET name = 'renamed by a person' WHERE id = 'E0001.US'")
	all := []Writer{{"1.0", "deploy-1", backup.AddDate(0, 0, -1), 1}, {"corrupting", "deploy-2", bad, xids[0]}, {"1.0 again", "rollback-3", good, xids[1]}}
	timed := []Writer{all[2], all[1], all[0]}
	for i := range timed {
		timed[i].FromXID = 0
	}
	for how, writers := range map[string][]Writer{"by transaction": all, "by time": timed, "unknown": nil} {
		s.judge(JudgeOptions{Now: good.Add(23 * time.Hour), Backup: backup.Add(21 * time.Hour), Writers: writers})
		checkScenario(t, s, how)
	}
	repair(t, s)
}

// repair does what the verdicts say and looks whether everything is right then.
func repair(t *testing.T, s *service) {
	t.Helper()
	s.exec("UPDATE etfs SET name = name || '!' WHERE id = 'E0001.US'")
	for _, table := range []string{"etf_prices", "etfs"} {
		var columns string
		s.one("SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '"+table+"'", &columns)
		s.exec(fmt.Sprintf(`UPDATE public.%[1]s t SET (%[2]s) = (SELECT %[2]s FROM jsonb_populate_record(t,
				(SELECT jsonb_object_agg(c, w.backup->c) FROM unnest(w.columns) c)))
			FROM etf_ops.work_rows w WHERE w.tbl = 'public.%[1]s' AND w.class = 'restore' AND to_jsonb(t.id) = w.key->'id';
			DELETE FROM public.%[1]s t USING etf_ops.work_rows w WHERE w.tbl = 'public.%[1]s' AND w.class = 'quarantine' AND to_jsonb(t.id) = w.key->'id'`, table, columns))
	}
	rows, err := s.Query(t.Context(), "SELECT etf_id, date, ARRAY[price, high, low, open]::text[] FROM etf_prices")
	if err != nil {
		t.Fatal(err)
	}
	var symbol string
	var at time.Time
	var amounts []string
	if _, err := pgx.ForEachRow(rows, []any{&symbol, &at, &amounts}, func() error {
		if want := stored(symbol, at, false); [4]string(amounts) != want {
			t.Errorf("after the repair %s %s is %s, want %s", symbol, at.Format(time.DateOnly), amounts, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	results, err := Run(t.Context(), func(context.Context) (*pgx.Conn, func(), error) { return s.Conn, func() {}, nil }, Options{Jobs: 1, Now: day("2030-01-01")})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil || r.Violations > 0 {
			t.Errorf("after the repair: %s: %d %v %v", r.Rule, r.Violations, r.Samples, r.Err)
		}
	}
	var name string
	if s.one("SELECT name FROM etfs WHERE id = 'E0001.US'", &name); name != "renamed by a person!" {
		t.Errorf("the name is %q", name)
	}
}

// checkScenario compares every verdict with the truth.
func checkScenario(t *testing.T, s *service, how string) {
	t.Helper()
	rows, err := s.Query(t.Context(), `SELECT w.live->>'etf_id', (w.live->>'date')::date, w.kind, w.class, w.sure, w.why, w.writer,
		ARRAY[p.price, p.high, p.low, p.open]::text[] FROM etf_ops.work_rows w LEFT JOIN etf_prices p ON p.id = (w.key->>'id')::int WHERE w.tbl = 'public.etf_prices'`)
	if err != nil {
		t.Fatal(err)
	}
	var symbol, kind, class, sure, why, writer string
	var at time.Time
	var amounts []string
	n, wrong := map[string]int{}, 0
	if _, err := pgx.ForEachRow(rows, []any{&symbol, &at, &kind, &class, &sure, &why, &writer, &amounts}, func() error {
		want := "keep"
		if [4]string(amounts) != stored(symbol, at, false) {
			want = map[string]string{"added": "quarantine", "changed": "restore"}[kind]
		}
		n[fmt.Sprint(kind, " ", class, " ", sure)]++
		if class != want {
			wrong++
			t.Errorf("%s: %s %s %s: %s (%s), want %s: %s", how, symbol, at.Format(time.DateOnly), kind, class, sure, want, why)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %v, %d wrong", how, n, wrong)
}
