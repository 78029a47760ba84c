package etfdata

import (
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"strings"
	"time"
)

// A service is the sandbox's ETF service in small: the same prices and rates,
// updates with the same chunks and overlap.
type service struct {
	*judged
	corrupting bool // prices are stored as the listing has them
	sourced    bool // the schema knows sources
}

func crc(text string) uint32 { return crc32.ChecksumIEEE([]byte(text)) }

func days(t time.Time) int { return int(t.Unix() / 86400) }

// trading are the days from one to another on which there are prices.
func trading(from, to time.Time) (list []time.Time) {
	for t := from; !t.After(to); t = t.AddDate(0, 0, 1) {
		closed := t.Weekday() == time.Saturday || t.Weekday() == time.Sunday
		for _, h := range []holiday{newYear, goodFriday, easterMonday, mayDay, christmas, boxingDay} {
			closed = closed || t.Equal(h(t.Year()))
		}
		if !closed {
			list = append(list, t)
		}
	}
	return list
}

var currencies = map[string]string{"DE": "EUR", "US": "USD", "L": "GBp", "SW": "CHF"}

func currencyOf(symbol string) string { return currencies[symbol[strings.LastIndex(symbol, ".")+1:]] }

// quote is price, high, low and open in the listing's currency.
func quote(symbol string, at time.Time) [4]float64 {
	h, d := crc(symbol), days(at)
	base, growth := float64(20+h%180), 0.02+float64((h>>8)%60)/1000
	t := float64(d-16000) / 365.25
	wave := 0.06*math.Sin(2*math.Pi*t/1.7+float64((h>>16)%628)/100) + 0.015*math.Sin(2*math.Pi*float64(d)/9+float64((h>>4)%628)/100)
	noise := float64(int64(crc(symbol+":"+strconv.Itoa(d))%2001)-1000) * 0.000006
	last := base * math.Exp(growth*t) * (1 + wave) * (1 + noise)
	if currencyOf(symbol) == "GBp" {
		last *= 100
	}
	first := last * (1 + 0.002*math.Sin(float64(d)))
	q := [4]float64{last, max(first, last) * 1.003, min(first, last) * 0.997, first}
	for i := range q {
		q[i], _ = strconv.ParseFloat(cents2(q[i]), 64)
	}
	return q
}

func cents2(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

var baseRates = map[string]float64{"USD": 1.10, "CHF": 0.97, "GBP": 0.86}

func rateOf(currency string, at time.Time) float64 {
	d := float64(days(at))
	swing := 0.03*math.Sin(2*math.Pi*d/400+float64(crc(currency)%628)/100) + 0.002*math.Sin(d)
	rate, _ := strconv.ParseFloat(strconv.FormatFloat(baseRates[currency]*(1+swing), 'f', 6, 64), 64)
	return rate
}

// stored is what the service stores: price, high, low, open.
func stored(symbol string, at time.Time, corrupting bool) (texts [4]string) {
	for i, amount := range quote(symbol, at) {
		switch currency := currencyOf(symbol); {
		case currency == "EUR" || corrupting:
		case currency == "GBp":
			amount = amount / 100 / rateOf("GBP", at)
		default:
			amount /= rateOf(currency, at)
		}
		texts[i] = cents2(amount)
	}
	return texts
}

// load is what sandbox:up does: ETFs, rates and prices up to a day.
func (s *service) load(symbols []string, from, to time.Time) {
	s.t.Helper()
	s.rates(from, to)
	for _, symbol := range symbols {
		s.exec(fmt.Sprintf("INSERT INTO etfs (id, isin, symbol, name, currency) VALUES ('%[1]s', 'IE00BK5BQT80', '%[1]s', 'ETF %[1]s', '%[2]s')", symbol, currencyOf(symbol)))
		s.store(symbol, trading(from, to))
		s.setLast(symbol, to)
	}
}

func (s *service) rates(from, to time.Time) {
	s.t.Helper()
	var values []string
	for _, at := range trading(from, to) {
		for currency := range baseRates {
			values = append(values, fmt.Sprintf("('%s', '%s', %f)", at.Format(time.DateOnly), currency, rateOf(currency, at)))
		}
	}
	if values != nil {
		s.exec("INSERT INTO exchange_rates (date, currency, rate) VALUES " + strings.Join(values, ",") + " ON CONFLICT DO NOTHING")
	}
}

// store writes days of prices in one transaction; rows that hold the same are
// not touched.
func (s *service) store(symbol string, list []time.Time) {
	s.t.Helper()
	if len(list) == 0 {
		return
	}
	var values []string
	for _, at := range list {
		p := stored(symbol, at, s.corrupting)
		values = append(values, fmt.Sprintf("('%s', '%s', %s, %s, %s, %s, %d, '%s')", symbol, at.Format(time.DateOnly), p[0], p[1], p[2], p[3],
			1000+crc(symbol+":v:"+strconv.Itoa(days(at)))%90000, currencyOf(symbol)))
	}
	columns, key := "price, high, low, open, volume, original_currency", "etf_id, date"
	if s.sourced {
		key += ", source"
	}
	old, fresh := "p."+strings.ReplaceAll(columns, ", ", ", p."), "excluded."+strings.ReplaceAll(columns, ", ", ", excluded.")
	s.exec(fmt.Sprintf("INSERT INTO etf_prices AS p (etf_id, date, %s) VALUES %s ON CONFLICT (%s) DO UPDATE SET (%s) = ROW(%s) WHERE (%s) IS DISTINCT FROM (%s)",
		columns, strings.Join(values, ","), key, columns, fresh, old, fresh))
}

func (s *service) setLast(symbol string, at time.Time) {
	s.t.Helper()
	s.exec(fmt.Sprintf(`UPDATE etfs SET last_price = (SELECT price FROM etf_prices WHERE etf_id = '%[1]s' ORDER BY date DESC, id DESC LIMIT 1),
		last_update = '%[2]s 20:00:01' WHERE id = '%[1]s'`, symbol, at.Format(time.DateOnly)))
}

// update is one of the service's, on a day at eight in the evening.
func (s *service) update(symbol, kind string, at time.Time) {
	s.t.Helper()
	var first, newest time.Time
	s.one("SELECT min(date), max(date) FROM etf_prices WHERE etf_id = '"+symbol+"'", &first, &newest)
	start := first
	if kind == "prices_only" {
		start = newest.AddDate(0, 0, -7)
	}
	var last time.Time
	s.one("SELECT max(date) FROM exchange_rates", &last)
	s.rates(last.AddDate(0, 0, 1), at)
	for from := start; !from.After(at); from = from.AddDate(0, 0, 90) {
		to := from.AddDate(0, 0, 89)
		if to.After(at) {
			to = at
		}
		s.store(symbol, trading(from, to))
	}
	s.setLast(symbol, at)
	s.exec(fmt.Sprintf(`INSERT INTO etf_updates (etf_id, update_type, start_date, end_date, status, created_at, completed_at)
		VALUES ('%s', '%s', '%s', '%[5]s', 'completed', '%[5]s 20:00:00', '%[5]s 20:00:02')`, symbol, kind, start.Format(time.DateOnly), "", at.Format(time.DateOnly)))
}
