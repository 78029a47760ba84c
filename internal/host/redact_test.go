package host

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	AddSecret("hunter2", "hunter2-longer", "p@ss w/rd", "abc", "")
	for in, want := range map[string]string{
		"nothing to hide":                   "nothing to hide",
		"login hunter2 refused":             "login *** refused",
		"hunter2hunter2":                    "******",
		"hunter2-longer":                    "***", // not ***-longer
		"redis://:p%40ss%20w%2Frd@host:1/0": "redis://:***@host:1/0",
		"redis://:p@ss%20w%2Frd@host:1/0":   "redis://:***@host:1/0",
		"password=p%40ss+w%2Frd":            "password=***",
		"p@ss w/rd":                         "***",
		"abc":                               "abc", // too short: every text would be spoilt
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

// What is cut at its beginning must not begin within a secret.
func TestTail(t *testing.T) {
	AddSecret("tail-secret")
	for _, size := range []int{0, 1, 9, 10, 11, 19, 20, 21, 22, 45, 100} {
		text := strings.Repeat("0123456789", 10)[:size]
		tl := tail{limit: 20}
		for _, r := range text {
			tl.Write([]byte(string(r)))
		}
		if got, want := tl.String(), text[max(0, size-20):]; got != want || tl.lost != (size > 20) {
			t.Errorf("of %d bytes are kept %q (lost: %v), want %q", size, got, tl.lost, want)
		}
	}
	tl := tail{limit: 20}
	tl.Write([]byte("refused: tail-secret\nthe end\n"))
	if got, want := Redact(tl.String()), "the end\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
