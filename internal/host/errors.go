package host

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

// An ExitError is a command that ran and ended with another status than 0.
type ExitError struct {
	Argv   []string // redacted
	Code   int      // exit status; -1: ended by a signal
	Signal string   // the signal that ended it, if one did
	Stderr string   // the end of its error output, redacted
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit %d", e.Code)
	if e.Signal != "" {
		how = "ended by " + e.Signal
	}
	msg := fmt.Sprintf("%s: %s", commandName(e.Argv), how)
	if tail := lastLines(e.Stderr, 5); tail != "" {
		msg += ": " + tail
	}
	return msg
}

// commandName is the program with its first words: enough to recognise it.
func commandName(argv []string) string {
	words := []string{path.Base(argv[0])}
	for _, a := range argv[1:] {
		if len(words) == 4 {
			break
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// tail keeps the last bytes of what is written to it.
type tail struct {
	buf   bytes.Buffer
	limit int
	lost  bool // something had to go
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	t.lost = t.lost || t.buf.Len() > t.limit
	// Cut only now and then: moving the rest at each write would be quadratic.
	if extra := t.buf.Len() - t.limit; extra > t.limit {
		t.buf.Next(extra)
	}
	return len(p), nil
}

func (t *tail) String() string {
	b := t.buf.Bytes()
	return string(b[max(0, len(b)-t.limit):])
}
