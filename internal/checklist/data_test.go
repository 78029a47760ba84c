package checklist

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// dataTarget is a target whose database holds the service's tables and what
// sql puts into them.
func dataTarget(t *testing.T, sql string) *Target {
	t.Helper()
	server, err := testserver.StartPostgres(serverDir(t))
	must(t, err)
	t.Cleanup(server.Stop)
	schema, err := os.ReadFile("../sandbox/etfservice/releases/1.0/src/backend/alembic/sql/0001_base.sql")
	must(t, err)
	u, err := postgres.ParseURL(server.URL("postgres"))
	must(t, err)
	conn, err := postgres.Connect(t.Context(), host.Local{}, u, "test")
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.PgConn().Exec(t.Context(), string(schema)+sql).ReadAll()
	must(t, err)
	return &Target{Host: host.Local{}, Now: func() time.Time { return time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC) }, Config: &config.Config{
		File: "deploy.yaml", Database: config.Database{URL: server.URL("postgres"), Name: "postgres"},
		Thresholds: config.Thresholds{RatesGap: 7, Tolerate: map[string]int{"price-gap": 1}},
		Timeouts:   config.Timeouts{Connect: time.Second, Check: 10 * time.Second},
		Data: config.Data{Off: []string{"isin-check-digit"}, Rules: []config.DataRule{
			{Name: "named", Title: "ETFs have names", Severity: "fault", SQL: "SELECT id FROM etfs WHERE name = '';"}, {Name: "broken", Title: "broken", Severity: "fault", SQL: "SELECT id FROM etf"}}},
	}}
}

func TestDataFindings(t *testing.T) {
	target := dataTarget(t, `
		ALTER TABLE etf_prices DROP COLUMN currency;
		DROP TABLE etf_errors;
		INSERT INTO etfs (id, isin, symbol, name, currency, last_price, last_update) VALUES ('A.US', 'x', 'A', '', 'USD', 200, '2026-11-20');
		INSERT INTO etf_prices (etf_id, date, price, original_currency) VALUES ('A.US', '2026-10-01', 100, 'USD'), ('A.US', '2026-11-19', 100, 'USD'), ('A.US', '2026-11-20', 200, 'USD');
		INSERT INTO etf_updates (etf_id, update_type, status, created_at) VALUES ('A.US', 'full', 'processing', '2026-11-20')`)
	findings := checkData.Run(t.Context(), target, Subject{})
	byKey := map[string]report.Finding{}
	for _, f := range findings {
		byKey[f.Key] = f
		if f.Check != "pre:data" || f.Command == "" || f.Looked != f.Key || f.Details == nil {
			t.Errorf("%+v", f)
		}
	}
	for key, want := range map[string]struct {
		status                       report.Status
		found                        string
		looked, violations, tolerate int64
	}{
		"price-positive":    {report.OK, "none of 3 in etf_prices: prices are above zero", 3, 0, 0},
		"price-jump":        {report.Fault, "1 of 3 in etf_prices break “no price is far from the one before it, unless a split explains it”, such as A.US 2026-11-20 #3", 3, 1, 0},
		"price-gap":         {report.OK, "1 of 3 in etf_prices, tolerated 1: prices of an ETF", 3, 1, 1},
		"stuck-updates":     {report.Warning, "1 of 1 in etf_updates break “no update of an ETF is stuck in processing”, such as A.US #1", 1, 1, 0},
		"isin-check-digit":  {report.OK, "switched off by data.off in deploy.yaml", 0, 0, 0},
		"currency-stored":   {report.OK, "does not apply: the schema has no etf_prices.currency", 0, 0, 0},
		"unresolved-errors": {report.Unknown, "the schema has no table etf_errors", 0, 0, 0},
		"named":             {report.Fault, "1 of data.rules[0].sql break “ETFs have names”, such as A.US", 0, 1, 0},
		"broken":            {report.Unknown, `looking at data.rules[1].sql: ERROR: relation "etf" does not exist`, 0, 0, 0},
	} {
		f := byKey[key]
		if f.Status != want.status || !strings.HasPrefix(f.Found, want.found) || f.Counts["looked"] != want.looked || f.Counts["violations"] != want.violations || f.Counts["tolerated"] != want.tolerate {
			t.Errorf("%s: %+v, want %+v", key, f, want)
		}
		if f.Status == report.Fault && (len(f.Samples) != 1 || f.SQL == "" || !strings.Contains(f.Do, f.SQL)) {
			t.Errorf("%s: %+v", key, f)
		}
	}
	if f := checkRates.Run(t.Context(), target, Subject{}); len(f) != 1 || f[0].Key != "USD" || f[0].Status != report.Fault || f[0].Counts["violations"] != 3 {
		t.Errorf("%+v", f)
	}

	target.Config.Data.Off = append(target.Config.Data.Off, "price_jump")
	if f := checkData.Run(t.Context(), target, Subject{}); len(f) != 1 || f[0].Status != report.Unknown || !strings.Contains(f[0].Found, `data.off[1]: there is no data rule "price_jump"`) || f[0].Do != "correct deploy.yaml" {
		t.Errorf("%+v", f)
	}
	target.Config.Database.URL = strings.Replace(target.Config.Database.URL, "super-secret-1", "wrong-secret", 1)
	target.Config.Data.Off = nil
	for _, check := range []Check{checkData, checkRates} {
		if f := check.Run(t.Context(), target, Subject{}); len(f) != 1 || f[0].Status != report.Unknown || !strings.Contains(f[0].Found, "refused the login") || !strings.Contains(f[0].Do, "pre:connections") {
			t.Errorf("%+v", f)
		}
	}
}

func TestNoETFs(t *testing.T) {
	target := &Target{Config: &config.Config{}}
	if f := target.judgeRule(etfdata.Result{Rule: "prices-exist", Looks: "etfs"}); f.Status != report.Warning {
		t.Errorf("%+v", f)
	}
	if f := target.judgeRule(etfdata.Result{Rule: "x", Looks: "etfs", Err: errors.New("no")}); f.Status != report.Unknown || f.Counts != nil {
		t.Errorf("%+v", f)
	}
}

// Many holes are one finding for a currency.
func TestRatesFindings(t *testing.T) {
	c := etfdata.Coverage{Prices: 1000, Days: 500, SQL: "SELECT"}
	day := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for i := range 200 {
		c.Holes = append(c.Holes, etfdata.Hole{Currency: []string{"", "CHF", "USD"}[i/99], From: day.AddDate(0, 0, i), To: day.AddDate(0, 0, i), Prices: 2})
	}
	findings := judgeRates(c, 7)
	if len(findings) != 3 || findings[0].Key != "no currency" || findings[1].Key != "CHF" || findings[2].Key != "USD" {
		t.Fatalf("%+v", findings)
	}
	f := findings[1]
	if want := "198 of 1 000 converted prices have no rate that is new enough: CHF 2026-04-14 to 2026-04-14: 2 prices, no rate before; CHF 2026-04-15 to 2026-04-15: 2 prices, no rate before; CHF 2026-04-16 to 2026-04-16: 2 prices, no rate before; and 96 ranges more"; f.Found != want ||
		f.Counts["ranges"] != 99 || f.Counts["violations"] != 198 || len(f.Samples) != 5 || len(f.Details.([]etfdata.Hole)) != 99 || f.Status != report.Fault {
		t.Errorf("%+v", f)
	}
	if f := judgeRates(etfdata.Coverage{Prices: 9, Days: 3}, 7); len(f) != 1 || f[0].Status != report.OK || f[0].Counts["looked"] != 9 {
		t.Errorf("%+v", f)
	}
	if f := judgeRates(etfdata.Coverage{Absent: "the schema has no etf_prices.original_currency"}, 7); len(f) != 1 || f[0].Status != report.OK {
		t.Errorf("%+v", f)
	}
}
