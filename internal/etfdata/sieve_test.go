package etfdata

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Whatever the prices are and in whatever order they lie, the sieve lets
// through all that the SQL which is shown would find.
func TestSieveLosesNothing(t *testing.T) {
	before := sievedRows
	defer func() { sievedRows = before }()
	for seed := range uint64(6) {
		form := []string{"old", "new"}[seed%2]
		connect := prepare(t, fmt.Sprintf("random_%d", seed), form, randomPrices(seed, form))
		for _, sievedRows = range []int64{before, 700} {
			o := Options{Now: now, Jump: []float64{0.25, 0.05, 0.5}[seed%3], Gap: []int{10, 3, 1}[seed%3]}
			results, err := Run(t.Context(), connect, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"price-jump", "price-gap", "orphan-prices"} {
				sameAsSQL(t, connect, find(results, name), fmt.Sprintf("seed %d, parts of %d", seed, sievedRows))
			}
		}
	}
}

func sameAsSQL(t *testing.T, connect Connect, r Result, what string) {
	t.Helper()
	if r.Err != nil {
		t.Fatalf("%s: %s: %v", what, r.Rule, r.Err)
	}
	conn, release, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if n := rows(t, conn, r.SQL); int64(n) != r.Violations || r.Looked < 2000 || len(r.Samples) != min(n, maxSamples) {
		t.Errorf("%s: %s: %d of %d, its SQL shows %d", what, r.Rule, r.Violations, r.Looked, n)
	}
	t.Logf("%s: %s: %d of %d", what, r.Rule, r.Violations, r.Looked)
}

// randomPrices makes SQL of some thousand prices: series that walk and jump
// by amounts at and about the limit, splits, gaps, several sources, days and
// prices that are none, in any order, every third time some of them twice.
func randomPrices(seed uint64, form string) string {
	r := rand.New(rand.NewPCG(seed, 1))
	var values []string
	sources := []string{"'yfinance'"}
	columns := "etf_id, date, price, stock_splits"
	if form == "new" {
		columns, sources = columns+", source", append(sources, "'ecb'", "''")
	}
	steps := []float64{1.25, 1.250001, 0.75, 0.7499, 1.05, 0.95, 1.5, 0.5, 2, 100, 0.01}
	prices := []string{"0", "-5", "'NaN'", "999999999999999999.99", "0.01"}
	for etf := range 30 {
		name := literal([]string{"GOOD.DE", "É", "a'b", "", fmt.Sprintf("E%d", etf), fmt.Sprintf("GONE%d", etf)}[r.IntN(6)] + fmt.Sprint(etf))
		for _, source := range sources[:1+r.IntN(len(sources))] {
			price, day := 50+100*r.Float64(), r.IntN(5000)
			for range 40 + r.IntN(80) {
				day += 1 + r.IntN(2)
				if r.IntN(60) == 0 {
					day += r.IntN(40)
				}
				step := 0.99 + 0.02*r.Float64()
				if r.IntN(50) == 0 {
					step = steps[r.IntN(len(steps))]
				}
				if price *= step; price < 1 || price > 1e7 {
					price = 100
				}
				price = math.Round(price*100) / 100
				text := fmt.Sprintf("%.2f", price)
				if r.IntN(150) == 0 {
					text = prices[r.IntN(len(prices))]
				}
				date := literal(day0.AddDate(0, 0, day).Format(time.DateOnly))
				if r.IntN(200) == 0 {
					date = []string{"'infinity'", "'-infinity'", "'1998-12-31'", "'2150-01-01'", "'2200-01-01'"}[r.IntN(5)]
				}
				split := []string{"NULL", "0", "2", "0.5", "'NaN'", "1.25"}[max(0, r.IntN(54)-48)]
				rest := ", " + split
				if form == "new" {
					rest += ", " + source
				}
				values = append(values, "("+name+", "+date+", "+text+rest+")")
				if r.IntN(30) == 0 { // where nothing keeps it from repeating
					values = append(values, fmt.Sprintf("(%s, %s, %.2f%s)", name, date, price*1.3, rest))
				}
			}
		}
	}
	r.Shuffle(len(values)/int(1+seed%3), func(i, j int) { values[i], values[j] = values[j], values[i] })
	sql := "INSERT INTO etfs (id) SELECT 'E' || i || i FROM generate_series(0, 29) i; INSERT INTO etf_prices (" + columns + ") VALUES " + strings.Join(values, ", ")
	if seed%3 == 2 {
		return "ALTER TABLE etf_prices DROP CONSTRAINT uq_etf_prices; " + sql
	}
	return sql + " ON CONFLICT DO NOTHING"
}

var day0 = time.Date(2005, time.January, 3, 0, 0, 0, 0, time.UTC)

// The server may cut its answer anywhere.
func TestCopyReader(t *testing.T) {
	connect := prepare(t, "copy", "new", "")
	conn, release, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var whole strings.Builder
	if _, err := conn.PgConn().CopyTo(t.Context(), &whole, "COPY (SELECT i::text, CASE WHEN i % 3 > 0 THEN i END FROM generate_series(1, 9) i) TO STDOUT (FORMAT binary)"); err != nil {
		t.Fatal(err)
	}
	for size := 1; size <= whole.Len(); size++ {
		var got []string
		c := &copyReader{row: func(fields [][]byte) error {
			number := "NULL"
			if fields[1] != nil {
				number = fmt.Sprint(int32At(fields[1]))
			}
			got = append(got, string(fields[0])+"="+number)
			return nil
		}}
		for rest := whole.String(); rest != ""; rest = rest[min(size, len(rest)):] {
			if _, err := c.Write([]byte(rest[:min(size, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		if want := "[1=1 2=2 3=NULL 4=4 5=5 6=NULL 7=7 8=8 9=NULL]"; fmt.Sprint(got) != want {
			t.Fatalf("in pieces of %d: %v", size, got)
		}
	}
	if _, err := (&copyReader{}).Write([]byte("1\t2\t3\nsome text of COPY")); err == nil {
		t.Error("no error of text")
	}
}

func TestNumeric(t *testing.T) {
	connect := prepare(t, "numeric", "new", "")
	conn, release, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for _, text := range []string{"0", "0.00", "0.01", "1", "-1", "9999", "10000", "10000.0001", "123456789.12", "99999999999999999999.99", "-0.000001", "1e30", "1e-30", "NaN", "Infinity", "-Infinity"} {
		var want float64
		if err := conn.QueryRow(t.Context(), "SELECT '"+text+"'::float8").Scan(&want); err != nil {
			t.Fatal(err)
		}
		c := &copyReader{row: func(fields [][]byte) error {
			got, ok := numeric(fields[0])
			if !ok || got != want && !(math.IsNaN(got) && math.IsNaN(want)) && !(math.Abs(got/want-1) < 1e-14) {
				t.Errorf("%s is read as %g, %v", text, got, ok)
			}
			return nil
		}}
		if _, err := conn.PgConn().CopyTo(t.Context(), c, "COPY (SELECT '"+text+"'::numeric) TO STDOUT (FORMAT binary)"); err != nil {
			t.Fatal(err)
		}
	}
	// What no float64 holds is neither zero nor infinite.
	for _, weight := range []byte{0x30, 0xC0} {
		got, ok := numeric([]byte{0, 1, weight, 0, 0, 0, 0, 0, 0, 1})
		if !ok || !(got > 0) || math.IsInf(got, 0) {
			t.Errorf("weight %x: %g", weight, got)
		}
	}
	for _, bad := range [][]byte{{}, {0, 1, 0, 0, 0, 0, 0, 0}, {255, 255, 0, 0, 0, 0, 0, 0}} {
		if _, ok := numeric(bad); ok {
			t.Errorf("%v is taken for a number", bad)
		}
	}
}

// The calendar is the same in SQL and here, and counts as a person would.
func TestWorkdays(t *testing.T) {
	connect := prepare(t, "workdays", "new", "")
	conn, release, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	sql := "SELECT array_agg(" + workdays("a.d", "b.d") + " ORDER BY a.d, b.d) FROM generate_series(DATE '2026-11-01', '2026-11-30', '1 day') AS x (t), LATERAL (SELECT t::date AS d) a, generate_series(t, t + interval '40 days', '1 day') AS y (u), LATERAL (SELECT u::date AS d) b WHERE a.d < b.d"
	var got []int
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatal(err)
	}
	i := 0
	for from := range 30 {
		for to := from + 1; to <= from+40; to++ {
			a, n := day("2026-11-01").AddDate(0, 0, from), 0
			b := a.AddDate(0, 0, to-from)
			for d := a.AddDate(0, 0, 1); d.Before(b); d = d.AddDate(0, 0, 1) {
				if d.Weekday() != time.Saturday && d.Weekday() != time.Sunday {
					n++
				}
			}
			since := func(t time.Time) euroDay { return euroDay(t.Sub(day("1999-01-01")).Hours() / 24) }
			if here := since(b).workdays() - (since(a) + 1).workdays(); got[i] != n || here != n {
				t.Fatalf("between %s and %s: %d in SQL, %d here, want %d", a.Format(time.DateOnly), b.Format(time.DateOnly), got[i], here, n)
			}
			i++
		}
	}
	for year, want := range map[int]string{1999: "04-04", 2000: "04-23", 2008: "03-23", 2011: "04-24", 2026: "04-05", 2038: "04-25"} {
		if got := easterSunday(year).Format("01-02"); got != want {
			t.Errorf("Easter %d: %s, want %s", year, got, want)
		}
	}
}
