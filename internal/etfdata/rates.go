package etfdata

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Coverage says how far the exchange rates cover the stored prices.
type Coverage struct {
	Prices int64  `json:"prices"` // that were converted from another currency than EUR
	Days   int64  `json:"days"`   // different currencies and days among them
	Holes  []Hole `json:"holes"`  // by currency and day
	SQL    string `json:"sql"`    // shows the holes
	Absent string `json:"absent"` // why nothing needs a rate: the schema does not know of currencies
}

// A Hole is a range of days whose prices, one currency's, have no rate that is
// new enough. Days between From and To that no price needs do not count.
type Hole struct {
	Currency string     `json:"currency"` // GBp counts as GBP
	From     time.Time  `json:"from"`
	To       time.Time  `json:"to"`
	Prices   int64      `json:"prices"`
	LastRate *time.Time `json:"last_rate,omitempty"` // newest rate before From; nil: there is none
}

func (h Hole) String() string {
	last := "no rate before"
	if h.LastRate != nil {
		last = "last rate " + h.LastRate.Format(time.DateOnly)
	}
	return fmt.Sprintf("%s %s to %s: %d prices, %s", h.Currency, h.From.Format(time.DateOnly), h.To.Format(time.DateOnly), h.Prices, last)
}

// ratesSQL goes through days that need a rate and days that have one together,
// by currency, so that no search is made for each of them. A rate of zero or
// less converts nothing and counts as missing. hole numbers the ranges. Days
// that are none (infinity) are for the data rules.
const ratesSQL = `WITH listed AS (
	SELECT original_currency AS currency, date, count(*) AS prices
	FROM etf_prices WHERE original_currency <> 'EUR' AND isfinite(date) GROUP BY 1, 2
), needed AS (
	SELECT CASE currency WHEN 'GBp' THEN 'GBP' ELSE currency END AS currency, date, sum(prices)::bigint AS prices
	FROM listed GROUP BY 1, 2
), days AS (
	SELECT currency, date, prices, NULL::date AS rate FROM needed
	UNION ALL
	SELECT currency, date, 0, date FROM exchange_rates WHERE rate > 0 AND rate <> 'NaN' AND isfinite(date)
), last AS (
	SELECT currency, date, prices, max(rate) OVER (PARTITION BY currency ORDER BY date) AS rate FROM days
), judged AS (
	SELECT *, (rate IS NULL OR date > rate + %d) AS open,
		row_number() OVER (PARTITION BY currency ORDER BY date) AS n FROM last WHERE prices > 0
), numbered AS (
	SELECT *, n - row_number() OVER (PARTITION BY currency, open ORDER BY date) AS hole FROM judged
)`

// ratesNeed are the columns that Rates looks at.
var ratesNeed = []string{"etf_prices.original_currency", "etf_prices.date", "exchange_rates.currency", "exchange_rates.date", "exchange_rates.rate"}

// Rates looks whether every day and currency that a stored price was converted
// at has a rate that is at most gap days older.
func Rates(ctx context.Context, connect Connect, gap int) (c Coverage, err error) {
	l := &link{connect: connect}
	defer l.close()
	err = l.look(ctx, func(conn *pgx.Conn) error {
		s, err := inspect(ctx, conn)
		if err != nil {
			return err
		}
		if err := s.lacks(ratesNeed); err != nil && s.older(ratesNeed) {
			c.Absent = err.Error()
			return nil
		} else if err != nil {
			return err
		}
		return c.read(ctx, conn, gap)
	})
	if err != nil {
		return c, fmt.Errorf("looking at the coverage of rates: %w", err)
	}
	return c, nil
}

func (c *Coverage) read(ctx context.Context, q Querier, gap int) error {
	with := fmt.Sprintf(ratesSQL, gap)
	sql := with + `
SELECT currency, min(date) AS "from", max(date) AS "to", sum(prices)::bigint AS prices, (array_agg(rate ORDER BY date))[1] AS last_rate
FROM numbered WHERE open GROUP BY currency, hole ORDER BY currency, min(date)`
	c.SQL = strings.Join(strings.Fields(sql), " ")
	// One statement, one snapshot: the sums come as a row without a currency.
	rows, err := q.Query(ctx, with+`
SELECT NULL, NULL::date, NULL::date, coalesce(sum(prices), 0)::bigint, NULL::date, count(*) FROM numbered
UNION ALL
SELECT currency, min(date), max(date), sum(prices)::bigint, (array_agg(rate ORDER BY date))[1], 0
FROM numbered WHERE open GROUP BY currency, hole ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	var currency *string
	var from, to, last *time.Time
	var prices, days int64
	_, err = pgx.ForEachRow(rows, []any{&currency, &from, &to, &prices, &last, &days}, func() error {
		if currency == nil {
			c.Prices, c.Days = prices, days
			return nil
		}
		c.Holes = append(c.Holes, Hole{*currency, *from, *to, prices, last})
		return nil
	})
	return err
}
