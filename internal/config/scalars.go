package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is an amount of data, written 512MB, 2GB or 2GiB.
type Bytes int64

// TimeOfDay is a time of the day in UTC, written 02:00.
type TimeOfDay time.Duration

func (t TimeOfDay) String() string {
	d := time.Duration(t)
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

// A Span is a part of the day in UTC, written 02:00-04:00; one that ends
// before it begins crosses midnight. The zero Span is none.
type Span struct{ From, To TimeOfDay }

func (s Span) String() string {
	if s == (Span{}) {
		return "none"
	}
	return s.From.String() + "-" + s.To.String()
}

// Length is the time between the ends of s.
func (s Span) Length() time.Duration {
	d := time.Duration(s.To - s.From)
	if d < 0 {
		d += 24 * time.Hour
	}
	return d
}

var units = map[string]float64{"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}

func parseBytes(s string) (Bytes, error) {
	i := strings.LastIndexAny(s, "0123456789.") + 1
	n, err := strconv.ParseFloat(s[:i], 64)
	unit, known := units[strings.ToUpper(strings.TrimSpace(s[i:]))]
	if err != nil || !known || n*unit > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is not an amount of data; write it like 2GB or 512MiB", s)
	}
	return Bytes(n * unit), nil
}

func parseFraction(s string) (float64, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is not a fraction; write it like 0.25", s)
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; write it like 90s, 10m or 1h30m", s)
	}
	return d, nil
}

func parseTimeOfDay(s string) (TimeOfDay, error) {
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, fmt.Errorf("%q is not a time of day; write it like 02:00 (UTC)", s)
	}
	return TimeOfDay(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute), nil
}

func parseSpan(s string) (Span, error) {
	from, to, ok := strings.Cut(s, "-")
	a, errFrom := parseTimeOfDay(strings.TrimSpace(from))
	b, errTo := parseTimeOfDay(strings.TrimSpace(to))
	if !ok || errFrom != nil || errTo != nil {
		return Span{}, fmt.Errorf("%q is not a part of the day; write it like 02:00-04:00 (UTC)", s)
	}
	if a == b {
		return Span{}, fmt.Errorf("%q begins when it ends; write it like 02:00-04:00 (UTC)", s)
	}
	return Span{a, b}, nil
}
