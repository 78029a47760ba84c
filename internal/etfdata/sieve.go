package etfdata

import (
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// A sieve holds the days and prices of ETFs, a few bytes each, and lets
// through those that may break a rule on neighbours: all that do, and few that
// do not. Prices are in single precision, days count from 1999-01-01.
type sieve struct {
	rows        int64 // all that came
	jumps, gaps []span

	low, high float32 // ratios of neighbours between these are no jump for certain
	gap       int     // working days
	today     int
	etfs      map[string]*etfSeries
	slabs     []*slab
	used      uint32 // blocks
}

// A span is the days of an ETF, both ends counted, within which it may break a
// rule.
type span struct {
	etf          string
	since, until euroDay
}

type euroDay uint16

func (d euroDay) time() time.Time {
	return time.Date(firstYear, time.January, 1+int(d), 0, 0, 0, 0, time.UTC)
}

// workdays is the number of days from Monday to Friday between some Monday and
// d; 1999-01-01 was a Friday.
func (d euroDay) workdays() int {
	n := int(d) + 4
	return n/7*5 + min(n%7, 5)
}

type etfSeries struct {
	id     string
	series []series // one for each source
}

// series is a list of blocks, in the order in which the rows came.
type series struct {
	source      string
	first, last uint32
	n           int // rows in the last block
	newest      euroDay
	disordered  bool
}

// A point is a price of a day, in one number, so that they are sorted fast.
// The price is 0 where no neighbour is compared with it, and NaN where single
// precision cannot tell.
type point uint64

func newPoint(day euroDay, price float32) point {
	return point(day)<<32 | point(math.Float32bits(price))
}

func (p point) day() euroDay   { return euroDay(p >> 32) }
func (p point) price() float32 { return math.Float32frombits(uint32(p)) }

const (
	blockRows = 32
	slabSize  = 2048
)

// Slabs are used again: a rollback looks before and after.
type slab [slabSize]block

var slabs = sync.Pool{New: func() any { return new(slab) }}

// Days and prices lie apart: together they would be padded to eight bytes.
type block struct {
	days   [blockRows]euroDay
	prices [blockRows]float32
	next   uint32 // 0: none
}

func newSieve(o Options) *sieve {
	const margin = 1e-6 // single precision is right to 6e-8
	return &sieve{low: float32((1 - o.Jump) * (1 + margin)), high: float32((1 + o.Jump) * (1 - margin)), gap: o.Gap,
		today: int(o.Now.Sub(euroDay(0).time()).Hours() / 24), etfs: map[string]*etfSeries{}}
}

var errCopy = errors.New("the server's COPY does not hold the columns that were asked for")

// add takes a row: ETF, date, price and, where there is one, source.
func (v *sieve) add(fields [][]byte) error {
	if len(fields) < 3 || fields[1] != nil && len(fields[1]) != 4 {
		return errCopy
	}
	v.rows++
	if fields[0] == nil || fields[1] == nil {
		return nil
	}
	const y2k = 365 // PostgreSQL counts from 2000-01-01
	day := int(int32At(fields[1])) + y2k
	if day < 0 || day > v.today || day > math.MaxUint16 {
		return nil
	}
	price, ok := numeric(fields[2])
	if !ok {
		return errCopy
	}
	e := v.etfs[string(fields[0])]
	if e == nil {
		e = &etfSeries{id: string(fields[0])}
		v.etfs[e.id] = e
	}
	v.store(e.of(fields[3:]), euroDay(day), single(price))
	return nil
}

var noSource = []byte{0}

// of is the series of a source; rows without one have a series of their own.
func (e *etfSeries) of(source [][]byte) *series {
	name := noSource
	if len(source) > 0 && source[0] != nil {
		name = source[0]
	}
	for i := range e.series {
		if string(name) == e.series[i].source {
			return &e.series[i]
		}
	}
	e.series = append(e.series, series{source: string(name)})
	return &e.series[len(e.series)-1]
}

func single(price float64) float32 {
	if !(price > 0) || math.IsInf(price, 0) {
		return 0
	}
	if price < 1e-30 || price > 1e30 {
		return float32(math.NaN())
	}
	return float32(price)
}

func (v *sieve) store(s *series, day euroDay, price float32) {
	if s.last == 0 || s.n == blockRows {
		v.used++
		if int(v.used)/slabSize == len(v.slabs) {
			v.slabs = append(v.slabs, slabs.Get().(*slab))
		}
		v.block(v.used).next = 0
		if s.last == 0 {
			s.first = v.used
		} else {
			v.block(s.last).next = v.used
		}
		s.last, s.n = v.used, 0
	}
	b := v.block(s.last)
	b.days[s.n], b.prices[s.n] = day, price
	s.disordered = s.disordered || day < s.newest
	s.newest = day
	s.n++
}

func (v *sieve) block(n uint32) *block { return &v.slabs[n/slabSize][n%slabSize] }

// sift finds the spans, and lets go of what it held.
func (v *sieve) sift() {
	defer func() {
		for _, s := range v.slabs {
			slabs.Put(s)
		}
		v.slabs, v.etfs = nil, nil
	}()
	var points []point
	var days []euroDay
	for _, e := range v.etfs {
		jump, gap := span{etf: e.id}, span{etf: e.id}
		days = days[:0]
		for i := range e.series {
			points = v.points(points[:0], &e.series[i])
			v.siftJumps(points, &jump)
			for _, p := range points {
				days = append(days, p.day())
			}
		}
		if len(e.series) > 1 {
			slices.Sort(days)
		}
		v.siftGaps(days, &gap)
		if jump.until > 0 {
			v.jumps = append(v.jumps, jump)
		}
		if gap.until > 0 {
			v.gaps = append(v.gaps, gap)
		}
	}
}

// points are those of a series, by day.
func (v *sieve) points(list []point, s *series) []point {
	for n := s.first; n != 0; n = v.block(n).next {
		b, rows := v.block(n), blockRows
		if n == s.last {
			rows = s.n
		}
		for i := range rows {
			list = append(list, newPoint(b.days[i], b.prices[i]))
		}
	}
	if s.disordered {
		slices.Sort(list)
	}
	return list
}

// siftJumps widens the span by neighbours that may be a jump. Of several
// prices of one day and source it cannot say which is next to which.
func (v *sieve) siftJumps(points []point, s *span) {
	var before point
	for _, p := range points {
		if p.price() == 0 {
			continue
		}
		ratio := p.price() / before.price()
		switch {
		case before == 0:
		case p.day() == before.day():
			s.widen(points[0].day(), points[len(points)-1].day())
		case !(ratio >= v.low && ratio <= v.high): // NaN too
			s.widen(before.day(), p.day())
		}
		before = p
	}
}

func (v *sieve) siftGaps(days []euroDay, s *span) {
	for i, day := range days {
		if i > 0 && day.workdays()-(days[i-1]+1).workdays() > v.gap {
			s.widen(days[i-1], day)
		}
	}
}

func (s *span) widen(since, until euroDay) {
	if s.until == 0 {
		s.since = since
	}
	s.since, s.until = min(s.since, since), max(s.until, until)
}
