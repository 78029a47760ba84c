package servicelog

import (
	"strconv"
	"time"
)

// A stamp is the time that a line bears.
type stamp struct {
	ns    int64 // since 1970, UTC; without a zone: as if it were UTC
	known bool
	zoned bool
}

// stampOf reads the value of a JSON key: a text, or seconds since 1970.
func stampOf(b []byte) stamp {
	if at, n := parseStamp(b); n > 0 {
		return at
	}
	seconds, err := strconv.ParseFloat(string(b), 64)
	if err != nil || seconds < 1e9 || seconds > 1e11 {
		return stamp{}
	}
	return stamp{int64(seconds * 1e9), true, true}
}

// parseStamp reads 2026-11-23T01:44:52.123456+01:00 in its variations: a space
// or a T, a comma or a point, Z, +0100 or no zone. n is its length, 0 where
// there is none.
func parseStamp(b []byte) (at stamp, n int) {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || b[13] != ':' || b[16] != ':' || b[10] != ' ' && b[10] != 'T' {
		return stamp{}, 0
	}
	y, m, d := number(b[:4]), number(b[5:7]), number(b[8:10])
	h, min, s := number(b[11:13]), number(b[14:16]), number(b[17:19])
	if y < 1970 || y > 2200 || m < 1 || m > 12 || d < 1 || d > 31 || h < 0 || h > 23 || min < 0 || min > 59 || s < 0 || s > 60 {
		return stamp{}, 0
	}
	ns := time.Date(y, time.Month(m), d, h, min, s, 0, time.UTC).UnixNano()
	n = 19
	if n < len(b) && (b[n] == ',' || b[n] == '.') {
		unit := int64(1e8)
		for n++; n < len(b) && b[n] >= '0' && b[n] <= '9'; n++ {
			ns += int64(b[n]-'0') * unit
			unit /= 10
		}
	}
	offset, length := zone(b[n:])
	return stamp{ns - int64(offset), true, length > 0}, n + length
}

// zone reads Z, +01:00, +0100 or, after a space, +0100.
func zone(b []byte) (offset time.Duration, n int) {
	if len(b) > 0 && b[0] == 'Z' {
		return 0, 1
	}
	if len(b) > 0 && b[0] == ' ' {
		b, n = b[1:], 1
	}
	if len(b) < 5 || b[0] != '+' && b[0] != '-' {
		return 0, 0
	}
	minutes, length := b[3:5], 5
	if b[3] == ':' {
		if len(b) < 6 {
			return 0, 0
		}
		minutes, length = b[4:6], 6
	}
	h, m := number(b[1:3]), number(minutes)
	if h < 0 || m < 0 {
		return 0, 0
	}
	offset = time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if b[0] == '-' {
		offset = -offset
	}
	return offset, n + length
}

// number reads digits; -1 where there are others.
func number(digits []byte) int {
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}
