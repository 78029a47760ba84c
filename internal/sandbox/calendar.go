package sandbox

import "time"

// A day counts from 1970-01-01.
type day int

func dayOf(t time.Time) day {
	const seconds = 24 * 60 * 60
	return day(t.UTC().Unix() / seconds)
}

func (d day) time() time.Time {
	return time.Unix(0, 0).UTC().AddDate(0, 0, int(d))
}

func (d day) String() string { return d.time().Format(time.DateOnly) }

// trades reports whether the exchanges are open: on working days that are no
// common holiday. Rates are published on the same days.
func (d day) trades() bool {
	t := d.time()
	if t.Weekday() == time.Saturday || t.Weekday() == time.Sunday {
		return false
	}
	switch t.Format("01-02") {
	case "01-01", "05-01", "12-25", "12-26":
		return false
	}
	easter := easterSunday(t.Year())
	return d != easter-2 && d != easter+1
}

// easterSunday follows the anonymous Gregorian algorithm (Meeus, Jones,
// Butcher).
func easterSunday(year int) day {
	a, b, c := year%19, year/100, year%100
	f := (b + 8) / 25
	g := (b - f + 1) / 3
	h := (19*a + b - b/4 - g + 15) % 30
	l := (32 + 2*(b%4) + 2*(c/4) - h - c%4) % 7
	m := (a + 11*h + 22*l) / 451
	n := h + l - 7*m + 114
	return dayOf(time.Date(year, time.Month(n/31), n%31+1, 0, 0, 0, 0, time.UTC))
}

// historyYears is how far back the loaded history goes.
const historyYears = 10

// history returns the trading days of the loaded history: ten years up to the
// last trading day before now.
func history(now time.Time) []day {
	end := dayOf(now) - 1
	for !end.trades() {
		end--
	}
	var days []day
	for d := dayOf(end.time().AddDate(-historyYears, 0, 0)); d <= end; d++ {
		if d.trades() {
			days = append(days, d)
		}
	}
	return days
}
