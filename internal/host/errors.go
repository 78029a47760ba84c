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
	Signal string   // the signal that ended it, if one did: "terminated", "killed", …
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

// commandName is the program with its first words, redacted: enough to
// recognise it.
func commandName(argv []string) string {
	words := []string{path.Base(argv[0])}
	for _, a := range argv[1:] {
		if len(words) == 4 {
			break
		}
		words = append(words, a)
	}
	return Redact(strings.Join(words, " "))
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

// String is at most limit bytes. When something had to go, it begins with a
// whole line, where there is one: the rest of a secret whose beginning was cut
// off could not be recognised.
func (t *tail) String() string {
	b := t.buf.Bytes()
	if !t.lost {
		return string(b)
	}
	b = b[len(b)-t.limit:]
	if _, whole, found := bytes.Cut(b, []byte("\n")); found && len(whole) > 0 {
		b = whole
	}
	return string(b)
}
