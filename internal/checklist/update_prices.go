package checklist

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// A priceKey is what there may be one price of.
type priceKey struct {
	date   time.Time
	source string // empty where the service does not keep it
}

// canaryPrices are all of one ETF.
type canaryPrices struct {
	rows   int
	price  map[priceKey]float64
	splits map[priceKey]bool
	newest time.Time
}

func pricesOf(ctx context.Context, conn *pgx.Conn, etf string) (canaryPrices, error) {
	p := canaryPrices{price: map[priceKey]float64{}, splits: map[priceKey]bool{}}
	// Earlier versions of the service lack both columns.
	rows, err := conn.Query(ctx, `select date, coalesce(to_jsonb(p) ->> 'source', ''), price::float8, coalesce((to_jsonb(p) ->> 'stock_splits')::float8, 0) <> 0
		from etf_prices p where etf_id = $1`, etf)
	if err != nil {
		return p, err
	}
	var key priceKey
	var price float64
	var split bool
	_, err = pgx.ForEachRow(rows, []any{&key.date, &key.source, &price, &split}, func() error {
		p.rows++
		p.price[key], p.splits[key] = price, split
		if key.date.After(p.newest) {
			p.newest = key.date
		}
		return nil
	})
	return p, err
}

// A priceDiff is what an update has done to the prices.
type priceDiff struct {
	added, removed, changed int
	twice                   int      // more rows than before for what there may be one of
	away, towards           []string // days that changed by more than a correction: away from the days before, or to where they are
	split                   bool     // the source has a split that was not there
}

// comparePrices holds two states against each other. The newest day is still
// traded: it may move by a jump, past ones by a correction.
func comparePrices(before, after canaryPrices, correction, jump float64) (d priceDiff) {
	d.twice = (after.rows - len(after.price)) - (before.rows - len(before.price))
	keys := slices.SortedFunc(maps.Keys(after.price), func(a, b priceKey) int { return a.date.Compare(b.date) })
	reference := map[string]float64{} // of each source: the last day that was left as it was
	for _, key := range keys {
		old, known := before.price[key]
		now := after.price[key]
		d.split = d.split || after.splits[key] && !before.splits[key]
		limit := correction
		if key.date.Equal(before.newest) {
			limit = jump
		}
		switch {
		case !known:
			d.added++
			continue
		case old == now:
			reference[key.source] = now
			continue
		}
		d.changed++
		if math.Abs(now-old) <= limit*math.Abs(old) {
			continue
		}
		text := fmt.Sprintf("%s: %.2f, was %.2f", key.date.Format(time.DateOnly), now, old)
		if ref := reference[key.source]; ref > 0 && far(now, ref) > far(old, ref) {
			d.away = append(d.away, text)
		} else {
			d.towards = append(d.towards, text)
		}
	}
	for key := range before.price {
		if _, still := after.price[key]; !still {
			d.removed++
		}
	}
	return d
}

// far is how far two prices are apart, up or down.
func far(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return math.Inf(1)
	}
	return math.Abs(math.Log(a / b))
}

// judgePrices says whether the update was idempotent.
func (t *Target) judgePrices(etf string, before, after canaryPrices) report.Finding {
	limits := t.Config.Thresholds
	d := comparePrices(before, after, limits.PriceCorrection, limits.PriceJump)
	looked := "prices of " + etf
	counts := map[string]int64{
		"looked": int64(after.rows), "before": int64(before.rows), "added": int64(d.added), "removed": int64(d.removed),
		"changed": int64(d.changed), "twice": int64(d.twice), "violations": int64(len(d.away)), "repaired": int64(len(d.towards)),
	}
	all := slices.Concat(d.away, d.towards)
	as := func(f report.Finding) report.Finding { return as(f, "prices", counts, all[:min(5, len(all))]...) }
	first := strings.Join(all[:min(2, len(all))], "; ")
	switch {
	case d.twice > 0:
		return as(fault(looked, fmt.Sprintf("the update has stored %d prices a second time", d.twice), "an update must be idempotent: see pre:data"))
	case d.removed > 0:
		return as(fault(looked, fmt.Sprintf("%d prices are gone since the update", d.removed), "see the workers' log and data:inconsistencies"))
	case len(d.away) > len(d.towards) && !d.split:
		return as(fault(looked, fmt.Sprintf("the update moved %d stored prices away from those of the days before, by more than a correction (thresholds.price_correction): %s", len(d.away), first),
			"the release stores other prices than the one before: see data:inconsistencies"))
	case len(all) > 0:
		return as(warn(looked, fmt.Sprintf("the update changed %d stored prices by more than a correction (thresholds.price_correction): %s", len(all), first),
			"see whether the source has corrected them"))
	}
	return as(found(looked, "%s as before, %d completed, %d corrected slightly", report.Count(int64(after.rows-d.added-d.changed)), d.added, d.changed))
}
