package config

import (
	"errors"
	"fmt"
	"time"
)

// ErrWindow is what Window.At returns when a cut-over may not begin now.
var ErrWindow = errors.New("outside the maintenance window")

// Window says when a cut-over may begin, in UTC.
type Window struct {
	Preferred Span          `yaml:"preferred"`
	Fallback  Span          `yaml:"fallback"` // zero: none
	Maximum   time.Duration `yaml:"maximum"`  // no cut-over lasts longer
	CutOver   time.Duration `yaml:"cut_over"` // expected, until there are measured ones
	Enforce   bool          `yaml:"enforce"`  // false: shown, but nothing is refused
}

// An Opening is one window on one day.
type Opening struct {
	Name     string    `json:"name"` // preferred or fallback
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Deadline time.Time `json:"deadline"` // when what begins now, or at From, has to be done
}

// At reports whether work that needs this long may begin now: inside a window,
// done before its end and within the maximum. If so it returns the present
// opening; otherwise the next one that is long enough, zero if none ever is,
// and an error that wraps ErrWindow and says why and when. Enforce is the
// caller's to look at.
func (w Window) At(now time.Time, needs time.Duration) (Opening, error) {
	now = now.UTC()
	if needs > w.Maximum {
		return Opening{}, fmt.Errorf("%w: %s are needed, the maximum is %s", ErrWindow, needs, w.Maximum)
	}
	var next Opening
	why := fmt.Errorf("%w: it is %s UTC", ErrWindow, now.Format("15:04"))
	for _, o := range w.around(now) {
		switch {
		case o.From.After(now):
			if o.To.Sub(o.From) >= needs && (next.From.IsZero() || o.From.Before(next.From)) {
				next = o
				next.Deadline = earlier(o.To, o.From.Add(w.Maximum))
			}
		case now.Before(o.To):
			if left := o.To.Sub(now); needs <= left {
				o.Deadline = earlier(o.To, now.Add(w.Maximum))
				return o, nil
			}
			why = fmt.Errorf("%w: %s are needed, the %s window ends in %s", ErrWindow,
				needs, o.Name, o.To.Sub(now).Round(time.Second))
		}
	}
	if next.From.IsZero() {
		return Opening{}, fmt.Errorf("%w: %s fit into no window", why, needs)
	}
	return next, fmt.Errorf("%w; the next is the %s one, %s to %s UTC", why, next.Name,
		next.From.Format("2006-01-02 15:04"), next.To.Format("15:04"))
}

// around lists the openings from yesterday, since a window may cross midnight,
// to tomorrow; the preferred of a day first.
func (w Window) around(now time.Time) (list []Opening) {
	midnight := now.Truncate(24 * time.Hour)
	for day := -1; day <= 1; day++ {
		for _, s := range []struct {
			name string
			Span
		}{{"preferred", w.Preferred}, {"fallback", w.Fallback}} {
			if s.Span == (Span{}) {
				continue
			}
			from := midnight.AddDate(0, 0, day).Add(time.Duration(s.From))
			list = append(list, Opening{Name: s.name, From: from, To: from.Add(s.Length())})
		}
	}
	return list
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
