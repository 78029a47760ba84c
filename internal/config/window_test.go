package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	span := func(s string) Span {
		v, err := parseSpan(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	plan := Window{Preferred: span("02:00-04:00"), Fallback: span("14:00-16:00"), Maximum: 2 * time.Hour}
	night := Window{Preferred: span("23:00-01:00"), Maximum: time.Hour}
	narrow := Window{Preferred: span("02:00-02:30"), Fallback: span("14:00-16:00"), Maximum: 2 * time.Hour}
	for _, c := range []struct {
		name     string
		w        Window
		now      string // of 20 November 2026, or a whole time
		needs    time.Duration
		want     string // opening: from–to, day of the month before each
		deadline string
		err      string // empty: may begin
	}{
		{"inside preferred", plan, "02:30", 15 * time.Minute, "preferred 20 02:00 20 04:00", "20 04:00", ""},
		{"first moment", plan, "02:00", 2 * time.Hour, "preferred 20 02:00 20 04:00", "20 04:00", ""},
		{"just fits", plan, "03:45", 15 * time.Minute, "preferred 20 02:00 20 04:00", "20 04:00", ""},
		{"a second too late", plan, "2026-11-20T03:45:01Z", 15 * time.Minute, "fallback 20 14:00 20 16:00", "20 16:00", "the preferred window ends in 14m59s"},
		{"last moment is outside", plan, "04:00", 0, "fallback 20 14:00 20 16:00", "20 16:00", "it is 04:00 UTC"},
		{"inside fallback", plan, "15:00", time.Hour, "fallback 20 14:00 20 16:00", "20 16:00", ""},
		{"before both", plan, "01:59", time.Minute, "preferred 20 02:00 20 04:00", "20 04:00", "the next is the preferred one, 2026-11-20 02:00 to 04:00 UTC"},
		{"after both: tomorrow", plan, "16:00", time.Minute, "preferred 21 02:00 21 04:00", "21 04:00", "it is 16:00 UTC"},
		{"another time zone", plan, "2026-11-20T04:30:00+02:00", time.Minute, "preferred 20 02:00 20 04:00", "20 04:00", ""},
		{"longer than the maximum", plan, "02:00", 2*time.Hour + 1, "", "", "the maximum is 2h0m0s"},
		{"before midnight", night, "23:30", time.Hour, "preferred 20 23:00 21 01:00", "21 00:30", ""},
		{"after midnight", night, "00:30", 30 * time.Minute, "preferred 19 23:00 20 01:00", "20 01:00", ""},
		{"after midnight, too late", night, "00:30", 31 * time.Minute, "preferred 20 23:00 21 01:00", "21 00:00", "ends in 30m0s"},
		{"the two hours end before the window", night, "23:00", time.Hour, "preferred 20 23:00 21 01:00", "21 00:00", ""},
		{"next that is long enough", narrow, "01:00", time.Hour, "fallback 20 14:00 20 16:00", "20 16:00", "the next is the fallback one"},
		{"fits into none", Window{Preferred: span("02:00-02:30"), Maximum: 2 * time.Hour}, "02:00", time.Hour, "", "", "fit into no window"},
		{"end of the month", plan, "2026-11-30T20:00:00Z", time.Hour, "preferred 1 02:00 1 04:00", "1 04:00", "2026-12-01 02:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := c.now
			if len(now) == len("15:04") {
				now = "2026-11-20T" + now + ":00Z"
			}
			at, err := time.Parse(time.RFC3339, now)
			if err != nil {
				t.Fatal(err)
			}
			o, err := c.w.At(at, c.needs)
			if (c.err == "") != (err == nil) || (err != nil && (!errors.Is(err, ErrWindow) || !strings.Contains(err.Error(), c.err))) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			var got, deadline string
			if o.Name != "" {
				got = o.Name + o.From.Format(" 2 15:04") + o.To.Format(" 2 15:04")
				deadline = o.Deadline.Format("2 15:04")
			}
			if got != c.want || deadline != c.deadline {
				t.Errorf("%s until %s, want %s until %s", got, deadline, c.want, c.deadline)
			}
		})
	}
}
