package rollback

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// etfs are those of the sandbox that have listings in EUR, USD, pence and CHF.
var etfs = []string{"E0000.DE", "E0001.US", "E0002.L", "E0003.SW", "E0004.DE", "E0005.US", "E0006.L", "E0007.SW"}

func gradual(t *testing.T, s *stack.Stack) {
	good := s.Serves(t)
	const right = "select md5(string_agg(p::text, ',' order by id)) from etf_prices p where id <= $1 and source = 'yfinance'"
	newest := query[int64](t, s, "", "select max(id) from etf_prices")
	before := query[string](t, s, "", right, newest)
	s.Mage(t, 0, "sandbox:release", "corrupting")
	s.Mage(t, 0, "deploy")
	for _, id := range etfs {
		update(t, s, id, "prices_only")
	}
	update(t, s, "E0001.US", "full")
	if query[string](t, s, "", right, newest) == before {
		t.Fatal("the corrupting release has corrupted nothing")
	}
	for _, id := range etfs { // the API has it in its cache now
		get(t, s, "/api/v1/etf/"+id)
	}
	// Right ones, of people and of the API, written meanwhile.
	post(t, s, "/api/v1/etf", map[string]any{"id": "MEAN.DE", "symbol": "MEAN.DE", "name": "Meanwhile", "isin": "IE00BKM4GZ66", "currency": "EUR"})
	post(t, s, "/api/v1/etf/MEAN.DE/prices", map[string]any{"date": "2026-11-19", "price": 31.07})
	exec(t, s, "update etfs set name = 'Renamed meanwhile' where id = 'E0001.US'")

	failed, answers := polled(t, s, func() { s.Mage(t, 0, "rollback:gradual", "-yes", "-reason=prices in dollars") })
	if failed != "" || answers < 50 {
		t.Errorf("%d answers, one failed: %s", answers, failed)
	}
	t.Logf("%d answers at ten a second, none failed", answers)
	if after := s.Serves(t); after != good {
		t.Errorf("%s serves, want %s", after, good)
	}
	if s.Status(t).Paused != "" {
		t.Errorf("updates are paused: %s", s.Status(t).Paused)
	}
	if query[string](t, s, "", right, newest) != before {
		t.Error("not every price is what it was")
	}
	for sql, want := range map[string]int{
		"select count(*) from etfs where id = 'MEAN.DE' or name = 'Renamed meanwhile'":                                                                                 2,
		"select count(*) from etf_prices where etf_id = 'MEAN.DE' and price = 31.07":                                                                                   1,
		"select count(*) from etf_updates where status = 'processing'":                                                                                                 0,
		"select count(*) from etf_updates u where created_at > now() at time zone 'utc' - interval '10 minutes' and update_type = 'full' and status like 'completed%'": 1,
		`select count(*) from etfs e where last_price is distinct from
			(select price from etf_prices p where p.etf_id = e.id order by date desc, id desc limit 1) and id like 'E000%'`: 0,
	} {
		if n := query[int](t, s, "", sql); n != want {
			t.Errorf("%s: %d, want %d", sql, n, want)
		}
	}
	for _, id := range etfs { // nor does its cache know the wrong ones
		told := get(t, s, "/api/v1/etf/"+id)["last_price"]
		if want := query[float64](t, s, "", "select last_price::float8 from etfs where id = $1", id); told != want {
			t.Errorf("the API says %v of %s, the database %v", told, id, want)
		}
	}
	// Again is harmless: nothing differs that is wrong.
	s.Mage(t, 0, "pre:data", "data:verify")
	update(t, s, "E0001.US", "prices_only")
	s.Mage(t, 0, "pre:data")
}

// polled asks the API ten times a second while f runs.
func polled(t *testing.T, s *stack.Stack, f func()) (failed string, answers int) {
	t.Helper()
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			res, err := client.Get(s.Env["ETF_API_URL"] + "/api/v1/etf?limit=5")
			if err == nil {
				res.Body.Close()
			}
			if answers++; err != nil || res.StatusCode != http.StatusOK {
				failed = time.Now().UTC().Format(time.TimeOnly) + " " + strings.TrimSpace(errText(err))
			}
		}
	})
	f()
	close(done)
	wg.Wait()
	return failed, answers
}

func errText(err error) string {
	if err == nil {
		return "another answer than 200"
	}
	return err.Error()
}

// byHand restores rows that a person has chosen, whatever the rules say.
func byHand(t *testing.T, s *stack.Stack) {
	s.Mage(t, 0, "backup:create", "-yes")
	price := query[string](t, s, "", "select price::text from etf_prices where id = 9")
	exec(t, s, "update etf_prices set price = price + 0.01 where id in (9, 10)")
	s.Mage(t, 0, "updates:pause", "-yes", "-reason=a look by hand")
	if !strings.Contains(s.Status(t).Paused, "a look by hand") {
		t.Errorf("status does not say why updates are paused: %q", s.Status(t).Paused)
	}
	s.Mage(t, 0, "updates:wait", "data:inconsistencies", "-yes")
	if out := s.Mage(t, 0, "data:restore", "-table=public.etf_prices", "-where=id = 9", "-dryrun").Stdout; !strings.Contains(out, price) {
		t.Errorf("the SQL does not show the old price %s:\n%s", price, out)
	}
	s.Mage(t, 0, "data:restore", "-table=public.etf_prices", "-where=id = 9", "-yes")
	s.Mage(t, 0, "data:verifyRestoration")
	if got := query[string](t, s, "", "select price::text from etf_prices where id = 9"); got != price {
		t.Errorf("price %s, want %s", got, price)
	}
	s.Mage(t, 0, "updates:resume", "-yes")
	s.Mage(t, 0, "updates:resume", "-yes") // again is harmless
	if s.Status(t).Paused != "" {
		t.Error("updates are paused still")
	}
	exec(t, s, "update etf_prices set price = price - 0.01 where id = 10")
}
