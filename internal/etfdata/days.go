package etfdata

import (
	"fmt"
	"strings"
	"time"
)

// Days on which an exchange is closed besides weekends. Those of Easter move.
type holiday func(year int) time.Time

var (
	newYear      holiday = fixed(time.January, 1)
	goodFriday   holiday = fromEaster(-2)
	easterMonday holiday = fromEaster(1)
	mayDay       holiday = fixed(time.May, 1)
	christmas    holiday = fixed(time.December, 25)
	boxingDay    holiday = fixed(time.December, 26)
)

func fixed(month time.Month, day int) holiday {
	return func(year int) time.Time { return time.Date(year, month, day, 0, 0, 0, 0, time.UTC) }
}

func fromEaster(days int) holiday {
	return func(year int) time.Time { return easterSunday(year).AddDate(0, 0, days) }
}

// easterSunday follows the anonymous Gregorian algorithm (Meeus, Jones,
// Butcher).
func easterSunday(year int) time.Time {
	a, b, c := year%19, year/100, year%100
	f := (b + 8) / 25
	g := (b - f + 1) / 3
	h := (19*a + b - b/4 - g + 15) % 30
	l := (32 + 2*(b%4) + 2*(c/4) - h - c%4) % 7
	m := (a + 11*h + 22*l) / 451
	n := h + l - 7*m + 114
	return time.Date(year, time.Month(n/31), n%31+1, 0, 0, 0, 0, time.UTC)
}

// closedOn is the day of a year that text, 2026-12-24 or 12-24, means; the
// zero time where it means none of it.
func closedOn(text string, year int) (day time.Time, err error) {
	if len(text) == len("12-24") {
		// Of a leap year, for 02-29; where there is no such day it is none.
		if day, err = time.Parse(time.DateOnly, "2000-"+text); err == nil {
			if day = fixed(day.Month(), day.Day())(year); day.Format("01-02") != text {
				day = time.Time{}
			}
			return day, nil
		}
	} else if day, err = time.Parse(time.DateOnly, text); err == nil {
		if day.Year() != year {
			day = time.Time{}
		}
		return day, nil
	}
	return day, fmt.Errorf("%q is not a day; write 2026-12-24, or 12-24 for every year", text)
}

// firstYear is that of the first price in euro.
const firstYear = 1999

// datesOf lists working days as an array: holidays of all years up to o.Now,
// and those that the configuration adds. Looking a date up in such an array
// costs the same however many it holds.
func datesOf(o Options, closed []string, holidays ...holiday) string {
	var list []string
	add := func(day time.Time) {
		if w := day.Weekday(); !day.IsZero() && w != time.Saturday && w != time.Sunday && !day.After(o.Now) {
			list = append(list, day.Format(time.DateOnly))
		}
	}
	for year := firstYear; year <= o.Now.Year(); year++ {
		for _, h := range holidays {
			add(h(year))
		}
		for _, text := range closed {
			if day, err := closedOn(text, year); err == nil {
				add(day)
			}
		}
	}
	return "'{" + strings.Join(list, ",") + "}'::date[]"
}

// weekend is true for Saturdays and Sundays. 1900-01-01 was a Monday; counting
// days is much cheaper than extract(isodow). Infinity has no weekday, and
// subtracting from it would end the whole pass.
func weekend(date string) string {
	return fmt.Sprintf("CASE WHEN isfinite(%[1]s) THEN (%[1]s - DATE '1900-01-01') %% 7 >= 5 END", date)
}

// workdays is the number of days from Monday to Friday between two dates, both
// not counted.
func workdays(after, before string) string {
	until := func(date string) string {
		return fmt.Sprintf("(%[1]s - DATE '1900-01-01') / 7 * 5 + least((%[1]s - DATE '1900-01-01') %% 7, 5)", date)
	}
	return until(before) + " - (" + until("("+after+" + 1)") + ")"
}
