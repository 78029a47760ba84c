package sandbox

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// A copyTable is one table in the text form of COPY. next appends the next
// row to buf and returns nil when there is none: rows are made as they are
// sent, however many they are.
type copyTable struct {
	name, columns string
	next          func(buf []byte) []byte
}

// copyReader turns rows into the stream that COPY reads.
type copyReader struct {
	next func(buf []byte) []byte
	buf  []byte
	rest []byte
}

// Read implements io.Reader.
func (r *copyReader) Read(p []byte) (int, error) {
	const enough = 32 << 10
	if len(r.rest) == 0 {
		r.buf = r.buf[:0]
		for len(r.buf) < enough {
			more := r.next(r.buf)
			if more == nil {
				break
			}
			r.buf = more
		}
		if r.rest = r.buf; len(r.rest) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// A dataset is everything that a new sandbox's database holds.
type dataset struct {
	etfs  []listing
	days  []day
	dates []string             // of days, as text
	rates map[string][]float64 // by currency, then as days
	texts map[string][]string  // the same, with six decimals
}

func newDataset(etfs int, now time.Time) *dataset {
	d := &dataset{days: history(now), rates: map[string][]float64{}, texts: map[string][]string{}}
	for i := range etfs {
		d.etfs = append(d.etfs, newListing(i))
	}
	for _, day := range d.days {
		d.dates = append(d.dates, day.String())
	}
	for _, base := range baseRates {
		for _, day := range d.days {
			text := rateAt(base.currency, base.value, day)
			value, _ := strconv.ParseFloat(text, 64) // its own output
			d.texts[base.currency] = append(d.texts[base.currency], text)
			d.rates[base.currency] = append(d.rates[base.currency], value)
		}
	}
	return d
}

// price is a listing's closing price in EUR on the i-th day.
func (d *dataset) price(l listing, i int) hundredths {
	return l.inEUR(l.quote(d.days[i]).close, d.rate(l, i))
}

func (d *dataset) rate(l listing, i int) float64 {
	if l.rate == "" {
		return 1
	}
	return d.rates[l.rate][i]
}

// tables are all but the prices; the ETFs come first, the others refer to
// them.
func (d *dataset) tables() []copyTable {
	return []copyTable{
		rows("etfs", "id, isin, symbol, name, currency, asset_class, domicile, inception_date, fund_size, ter, "+
			"distribution_policy, last_price, last_update, ytd_return, one_year_return, volatility_30d, sharpe_ratio",
			len(d.etfs), d.etfRow),
		rows("exchange_rates", "id, date, currency, rate", len(d.days)*len(baseRates), d.rateRow),
		rows("etf_updates", "etf_id, update_type, start_date, end_date, status, created_at, completed_at, notes",
			2*len(d.etfs), d.updateRow),
		rows("households", "name", 2, func(i int) string { return fmt.Sprintf("Household %d", i+1) }),
		rows("pension_etfs", "household_id, etf_id, monthly_amount", min(len(d.etfs), 8), func(i int) string {
			return fmt.Sprintf("%d\t%s\t%d.00", i%2+1, d.etfs[i].symbol, 50*(i+1))
		}),
	}
}

// rows makes a table of n rows, each a line of values between tabs.
func rows(name, columns string, n int, row func(i int) string) copyTable {
	i := 0
	return copyTable{name: name, columns: columns, next: func(buf []byte) []byte {
		if i >= n {
			return nil
		}
		i++
		return append(append(buf, row(i-1)...), '\n')
	}}
}

func (d *dataset) etfRow(i int) string {
	l, last := d.etfs[i], len(d.days)-1
	policy := "Distributing"
	if l.hash%2 == 1 {
		policy = "Accumulating"
	}
	year := d.growth(l, d.since(time.Date(d.days[last].time().Year(), 1, 1, 0, 0, 0, 0, time.UTC)))
	twelve := d.growth(l, d.since(d.days[last].time().AddDate(-1, 0, 0)))
	swing := d.volatility(l)
	return fmt.Sprintf("%s\t%s\t%s\tGoldfinch Sample ETF %04d\t%s\tEquity\tIE\t%s\t%d.00\t%.4f\t%s\t%s\t%s 20:05:00\t%.4f\t%.4f\t%.4f\t%.4f",
		l.symbol, l.isin(), l.symbol, l.index, l.currency, d.days[0].time().AddDate(-1, 0, 0).Format(time.DateOnly),
		10_000_000+int64(l.hash%900)*1_000_000, float64(7+l.hash%60)/10000, policy,
		d.price(l, last).append(nil), d.dates[last], year, twelve, swing, (twelve-0.02)/swing)
}

// since is the index of the first day that is not before t.
func (d *dataset) since(t time.Time) int {
	for i, day := range d.days {
		if day >= dayOf(t) {
			return i
		}
	}
	return len(d.days) - 1
}

// growth is the return from the i-th day to the last.
func (d *dataset) growth(l listing, i int) float64 {
	return float64(d.price(l, len(d.days)-1))/float64(d.price(l, i)) - 1
}

// volatility is the standard deviation of the last thirty daily returns, for
// a year of 252 days.
func (d *dataset) volatility(l listing) float64 {
	const days = 30
	var sum, squares float64
	for i := len(d.days) - days; i < len(d.days); i++ {
		r := float64(d.price(l, i))/float64(d.price(l, i-1)) - 1
		sum += r
		squares += r * r
	}
	mean := sum / days
	return math.Sqrt((squares/days - mean*mean) * 252)
}

func (d *dataset) rateRow(i int) string {
	at, base := i/len(baseRates), baseRates[i%len(baseRates)]
	return fmt.Sprintf("%d\t%s\t%s\t%s", i+1, d.dates[at], base.currency, d.texts[base.currency][at])
}

// updateRow: each ETF was loaded in full and then updated on the last day.
func (d *dataset) updateRow(i int) string {
	l, first, last := d.etfs[i/2], d.dates[0], d.dates[len(d.dates)-1]
	kind, begin, at := "full", first, d.days[len(d.days)-2].time()
	if i%2 == 1 {
		kind, begin, at = "prices_only", last, d.days[len(d.days)-1].time()
	}
	at = at.Add(20*time.Hour + time.Duration(i/2)*time.Second/10)
	const form = "2006-01-02 15:04:05.000"
	return fmt.Sprintf("%s\t%s\t%s\t%s\tcompleted\t%s\t%s\t%s", l.symbol, kind, begin, at.Format(time.DateOnly),
		at.Format(form), at.Add(1500*time.Millisecond).Format(form), "loaded by sandbox:up")
}

// prices are those of the ETFs from first up to but without last. The key
// follows from ETF and day, so that several streams need no common sequence.
func (d *dataset) prices(first, last int) copyTable {
	etf, at := first, 0
	return copyTable{
		name:    "etf_prices",
		columns: "id, etf_id, date, price, currency, volume, high, low, open, original_currency",
		next: func(buf []byte) []byte {
			if at == len(d.days) {
				etf, at = etf+1, 0
			}
			if etf >= last {
				return nil
			}
			buf = d.appendPrice(buf, d.etfs[etf], at)
			at++
			return buf
		},
	}
}

func (d *dataset) appendPrice(buf []byte, l listing, at int) []byte {
	q, rate := l.quote(d.days[at]), d.rate(l, at)
	buf = strconv.AppendInt(buf, int64(l.index*len(d.days)+at+1), 10)
	buf = append(append(buf, '\t'), l.symbol...)
	buf = append(append(buf, '\t'), d.dates[at]...)
	buf = l.inEUR(q.close, rate).append(append(buf, '\t'))
	buf = append(buf, "\tEUR\t"...)
	buf = strconv.AppendInt(buf, q.volume, 10)
	for _, amount := range []float64{q.high, q.low, q.open} {
		buf = l.inEUR(amount, rate).append(append(buf, '\t'))
	}
	buf = append(append(buf, '\t'), l.currency...)
	return append(buf, '\n')
}
