package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// sourced is what a shell sees after it has sourced the sandbox's env.
func sourced(t *testing.T, s *Sandbox, name string) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", `. "$1"; eval "printf %s \"\$$2\""`, "sh", s.EnvFile(), name).Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("%s of %s: %q, %v", name, s.EnvFile(), out, err)
	}
	return string(out)
}

func owner(ctx context.Context, t *testing.T, s *Sandbox) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, sourced(t, s, "ETF_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func dataIsThere(ctx context.Context, t *testing.T, s *Sandbox) {
	conn := owner(ctx, t, s)
	days, etfs := len(history(s.now())), s.opt.ETFs
	for query, want := range map[string]int{
		"select count(*) from etfs":                                                etfs,
		"select count(*) from etf_prices":                                          etfs * days,
		"select count(distinct date) from etf_prices":                              days,
		"select count(*) from exchange_rates":                                      11 * days,
		"select count(*) from etf_updates where status = 'completed'":              2 * etfs,
		"select count(*) from alembic_version where version_num = '0001'":          1,
		"select count(*) from etf_prices where currency <> 'EUR'":                  0,
		"select count(distinct original_currency) from etf_prices":                 4,
		"select count(*) from etf_prices where low > price or price > high":        0,
		"select count(*) from etfs where last_update < date '2000-01-01'":          0,
		"select count(*) from pg_constraint where conrelid='etf_prices'::regclass": 3,
		"select nextval('etf_prices_id_seq')":                                      etfs*days + 1,
		`select count(*) from etfs e join etf_prices p on p.etf_id = e.id
			where p.date = (select max(date) from etf_prices) and e.last_price = p.price`: etfs,
		`select count(*) from pg_tables where schemaname = 'public' and tableowner <> 'etf_owner'`: 0,
	} {
		var got int
		if err := conn.QueryRow(ctx, query).Scan(&got); err != nil {
			t.Errorf("%s: %v", query, err)
		} else if got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// rightsHold: the application may write rows, also into tables that come
// later, and may not change the schema.
func rightsHold(ctx context.Context, t *testing.T, s *Sandbox) {
	own := owner(ctx, t, s)
	if _, err := own.Exec(ctx, "create table later (id serial primary key, x int)"); err != nil {
		t.Fatal(err)
	}
	url := s.databaseURL("postgresql", roleApp, s.st.Secrets.App, database)
	app, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close(ctx)
	for sql, allowed := range map[string]bool{
		"insert into later (x) values (1)":            true,
		"update etf_prices set volume = 1 where id=1": true,
		"delete from task_status":                     true,
		"create table mine (x int)":                   false,
		"drop table later":                            false,
		"truncate etf_prices":                         false,
	} {
		if _, err := app.Exec(ctx, sql); (err == nil) != allowed {
			t.Errorf("%s by the application: %v", sql, err)
		}
	}
	wrong := s.databaseURL("postgresql", roleApp, "wrong", database)
	if conn, err := pgx.Connect(ctx, wrong); err == nil {
		conn.Close(ctx)
		t.Error("a wrong password was accepted")
	}
}

// pricesAgree compares ten years of one listing in each currency with what
// the price source answers.
func pricesAgree(ctx context.Context, t *testing.T, s *Sandbox) {
	days := history(s.now())
	source := sourced(t, s, "ETF_PRICE_SOURCE_URL")
	for i := range s.opt.ETFs {
		l := newListing(i)
		var answer struct {
			Currency string
			Prices   []struct {
				Date                   string
				Open, High, Low, Close float64
				Volume                 int64
			}
		}
		getJSON(ctx, t, fmt.Sprintf("%s/v1/prices/%s?start=%s&end=%s", source, l.symbol, days[0], days[len(days)-1]), &answer)
		if answer.Currency != l.currency || len(answer.Prices) != len(days) {
			t.Fatalf("%s: %s, %d days, want %s, %d", l.symbol, answer.Currency, len(answer.Prices), l.currency, len(days))
		}
		for j, p := range answer.Prices {
			got := quote{p.Open, p.High, p.Low, p.Close, p.Volume}
			if want := l.quote(days[j]); got != want || p.Date != days[j].String() {
				t.Fatalf("%s on %s: the source says %v on %s, the loader %v", l.symbol, days[j], got, p.Date, want)
			}
		}
	}
	var rates struct {
		Rates []struct {
			Date, Currency string
			Rate           json.Number
		}
	}
	getJSON(ctx, t, fmt.Sprintf("%s/v1/rates?start=%s&end=%s", source, days[0], days[len(days)-1]), &rates)
	data := newDataset(0, s.now())
	if len(rates.Rates) != 11*len(days) {
		t.Fatalf("%d rates, want %d", len(rates.Rates), 11*len(days))
	}
	for i, r := range rates.Rates {
		f, err := r.Rate.Float64()
		if want := data.rates[r.Currency][i/11]; err != nil || f != want {
			t.Fatalf("%s on %s: the source says %s, the loader %v", r.Currency, r.Date, r.Rate, want)
		}
	}
}

func getJSON(ctx context.Context, t *testing.T, url string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
}

// secretsStaySecret: no password on a command line, in a log, or in a file
// that others may read.
func secretsStaySecret(t *testing.T, s *Sandbox) {
	var secrets [][]byte
	for _, v := range []string{s.st.Secrets.Superuser, s.st.Secrets.Owner, s.st.Secrets.App, s.st.Secrets.Redis, s.st.Secrets.Broker} {
		secrets = append(secrets, []byte(v))
	}
	holds := func(text []byte) bool {
		return slices.ContainsFunc(secrets, func(secret []byte) bool { return bytes.Contains(text, secret) })
	}
	for _, p := range processes(s.dir) {
		cmdline, _ := os.ReadFile(procPath(p.PID, "cmdline"))
		environ, _ := os.ReadFile(procPath(p.PID, "environ"))
		if holds(cmdline) || holds(environ) {
			t.Errorf("process %d (%s) shows a password", p.PID, p.comm)
		}
	}
	found := 0
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a server's own file, gone since its folder was listed
		}
		if err != nil {
			return err
		}
		if e.IsDir() && path == postgresData(s.dir) {
			return filepath.SkipDir
		}
		if !e.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !holds(text) {
			return err
		}
		found++
		info, err := e.Info()
		if err == nil && (info.Mode().Perm()&0o077 != 0 || strings.HasPrefix(path, s.path("log"))) {
			t.Errorf("%s holds a password, mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil || found < 4 {
		t.Errorf("%d files with passwords were found, of state.json, env, .env, redis.conf, rabbitmq.conf: %v", found, err)
	}
}
