package sandbox

import (
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

func date(t *testing.T, text string) day {
	t.Helper()
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		t.Fatal(err)
	}
	return dayOf(at)
}

func TestTradingDays(t *testing.T) {
	for text, want := range map[string]bool{
		"2026-11-20": true,  // a Friday
		"2026-11-21": false, // Saturday
		"2026-11-22": false, // Sunday
		"2026-01-01": false, "2025-05-01": false, "2025-12-25": false, "2025-12-26": false,
		"2026-04-03": false, "2026-04-06": false, // Good Friday, Easter Monday
		"2024-03-29": false, "2024-04-01": false, "2019-04-19": false, "2019-04-22": false,
		"2026-04-02": true, "2026-04-07": true, "2024-12-24": true, "2024-02-29": true,
	} {
		if got := date(t, text).trades(); got != want {
			t.Errorf("%s: trades %v, want %v", text, got, want)
		}
	}
	if got := easterSunday(2000).String(); got != "2000-04-23" {
		t.Errorf("Easter 2000: %s", got)
	}
}

func TestHistoryEndsOnTheLastTradingDay(t *testing.T) {
	for now, want := range map[string][2]string{
		"2026-11-23": {"2016-11-21", "2026-11-20"}, // Monday: Friday; ten years before was a Sunday
		"2026-11-24": {"2016-11-23", "2026-11-23"},
		"2026-04-07": {"2016-04-04", "2026-04-02"}, // after Easter
	} {
		days := history(date(t, now).time().Add(5 * time.Hour))
		if got := [2]string{days[0].String(), days[len(days)-1].String()}; got != want {
			t.Errorf("history before %s: %v, want %v", now, got, want)
		}
		for i, d := range days {
			if !d.trades() || i > 0 && d <= days[i-1] {
				t.Fatalf("history before %s: %s is out of place", now, d)
			}
		}
	}
}

// The numbers were computed by the price source's own Python.
func TestQuotesAreThoseOfThePriceSource(t *testing.T) {
	for _, c := range []struct {
		symbol, date string
		want         quote
	}{
		{"E0000.DE", "2016-11-21", quote{108.55, 109.07, 108.22, 108.75, 37522}},
		{"E0000.DE", "2026-11-20", quote{170.77, 171.62, 170.25, 171.11, 36970}},
		{"E0001.US", "2016-11-21", quote{61.52, 61.81, 61.33, 61.63, 45200}},
		{"E0001.US", "2024-02-29", quote{93.41, 93.69, 93.02, 93.3, 88306}},
		{"E0002.L", "2024-02-29", quote{24627.83, 24701.72, 24525.89, 24599.69, 19255}},
		{"E0002.L", "2026-11-20", quote{31449.02, 31606.39, 31354.67, 31511.86, 83101}},
		{"E0003.SW", "2024-02-29", quote{254.54, 255.3, 253.49, 254.25, 16886}},
		{"E1999.SW", "2026-11-20", quote{253.52, 254.79, 252.76, 254.03, 9229}},
	} {
		index, _ := strconv.Atoi(c.symbol[1:5])
		l := newListing(index)
		if l.symbol != c.symbol {
			t.Errorf("listing %d: %s, want %s", index, l.symbol, c.symbol)
		}
		if got := l.quote(date(t, c.date)); got != c.want {
			t.Errorf("%s on %s: %v, want %v", c.symbol, c.date, got, c.want)
		}
	}
	for _, c := range []struct {
		currency, date, want string
	}{
		{"USD", "2016-11-21", "1.094923"}, {"USD", "2026-11-20", "1.119285"},
		{"JPY", "2016-11-21", "157.477610"}, {"GBP", "2026-11-20", "0.854142"},
	} {
		for _, base := range baseRates {
			if base.currency != c.currency {
				continue
			}
			if got := rateAt(base.currency, base.value, date(t, c.date)); got != c.want {
				t.Errorf("%s on %s: %s, want %s", c.currency, c.date, got, c.want)
			}
		}
	}
}

func TestISINCheckDigit(t *testing.T) {
	for _, isin := range []string{"US0378331005", "IE00BK5BQT80", "GB0002634946", "DE0007164600", "AU0000XVGZA3"} {
		if got := isin[:11] + strconv.Itoa(isinCheckDigit(isin[:11])); got != isin {
			t.Errorf("%s: got %s", isin, got)
		}
	}
	if got := newListing(1).isin(); got != "IE0000000012" {
		t.Errorf("ISIN of ETF 1: %s", got)
	}
}

func TestCentsRoundTheExactValue(t *testing.T) {
	exact := func(amount float64) string { return strconv.FormatFloat(amount, 'f', 2, 64) }
	amounts := []float64{0.125, 0.375, 2.675, 1.005, 1.115, 0.145, 1e6 + 0.005, 0.005, 0.015, 8.345, 31511.865}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		amounts = append(amounts, r.Float64()*40_000, math.Floor(r.Float64()*4e6)/1000)
	}
	for _, amount := range amounts {
		if got := string(cents(amount).append(nil)); got != exact(amount) {
			t.Errorf("%v: %s, want %s", amount, got, exact(amount))
		}
	}
}

func TestPricesAreInEUR(t *testing.T) {
	for _, c := range []struct {
		index int
		want  hundredths
	}{
		{0, 10000}, // EUR
		{1, 9091},  // USD at 1.10
		{2, 91},    // pence at 1.10 pounds
		{3, 9091},  // CHF
	} {
		if got := newListing(c.index).inEUR(100, 1.1); got != c.want {
			t.Errorf("100 of ETF %d: %d hundredths, want %d", c.index, got, c.want)
		}
	}
}

func TestCopyReaderSendsEveryRowOnce(t *testing.T) {
	data := newDataset(3, time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC))
	text, err := io.ReadAll(&copyReader{next: data.prices(1, 3).next})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 2*len(data.days) {
		t.Errorf("%d rows, want %d", len(lines), 2*len(data.days))
	}
	want := "5120\tE0001.US\t2026-11-20\t102.58\tEUR\t73512\t102.89\t102.07\t102.38\tUSD"
	if got := lines[len(data.days)-1]; got != want {
		t.Errorf("last row of E0001.US:\n%s, want\n%s", got, want)
	}
}

func BenchmarkPriceRows(b *testing.B) {
	data := newDataset(4, time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC))
	buf := make([]byte, 0, 200)
	for i := 0; b.Loop(); i++ {
		buf = data.appendPrice(buf[:0], data.etfs[i%4], i%len(data.days))
	}
}
