package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// ErrInvalid is what every error of this package's Load is: the command was
// given a configuration, or an environment, that it cannot work with.
var ErrInvalid = errors.New("invalid configuration")

// A Fault is one thing that is wrong in the file.
type Fault struct {
	Path    string // environments.production.database.url
	Line    int    // in the file; 0: the key is not there
	Problem string // what is wrong and what to do
}

func (f Fault) String() string {
	if f.Path == "" {
		return f.Problem
	}
	if f.Line > 0 {
		return fmt.Sprintf("%s (line %d): %s", f.Path, f.Line, f.Problem)
	}
	return f.Path + ": " + f.Problem
}

// An Error holds all faults of a configuration. errors.Is(err, ErrInvalid).
type Error struct {
	File   string
	Faults []Fault
}

func (e *Error) Error() string {
	if len(e.Faults) == 1 {
		return host.Redact(fmt.Sprintf("reading configuration: %s: %s", e.File, e.Faults[0]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "reading configuration: %s: %d faults:", e.File, len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n  " + f.String())
	}
	return host.Redact(b.String())
}

// Is makes every Error an ErrInvalid.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// faults collects, and knows on which line of the file each key stands.
type faults struct {
	list  []Fault
	lines map[string]int

	silent map[string]bool // keys that are not to be judged by their value
}

func (f *faults) add(path, format string, args ...any) {
	f.list = append(f.list, Fault{Path: path, Line: f.lines[path], Problem: fmt.Sprintf(format, args...)})
}

// has reports whether this key, one inside it or the one around it is at fault
// already: one mistake is reported once.
func (f *faults) has(path string) bool {
	if f.silent[path] {
		return true
	}
	for _, one := range f.list {
		if one.Path == path || strings.HasPrefix(one.Path, path+".") || strings.HasPrefix(one.Path, path+"[") ||
			(one.Path != "" && strings.HasPrefix(path, one.Path+".")) {
			return true
		}
	}
	return false
}
