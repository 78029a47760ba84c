package report

import (
	"testing"
	"time"
)

func TestHuman(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 900 * time.Microsecond: "0 ms", 340 * time.Millisecond: "340 ms", 999600 * time.Microsecond: "1.0 s",
		1200 * time.Millisecond: "1.2 s", 59900 * time.Millisecond: "59.9 s", 59960 * time.Millisecond: "1 min 00 s",
		185 * time.Second: "3 min 05 s", time.Hour - time.Millisecond: "1 h 00 min", 124 * time.Minute: "2 h 04 min",
		50 * time.Hour: "2 days", -2 * time.Second: "-2.0 s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9_940: "9.9 kB", 9_960: "10 kB",
		412_345_678: "412 MB", 999_600_000: "1.0 GB", 1_060_000_000: "1.1 GB", 5_000_000_000_000_000: "5000 TB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1 000", 521003: "521 003", 1234567: "1 234 567", -100: "-100", -1000: "-1 000"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}
