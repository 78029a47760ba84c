package alembic

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

var unknownRevision = regexp.MustCompile(`Can't locate revision identified by '([^']*)'|No such revision or branch '([^']*)'`)

// diagnose names the kind of a failure by what alembic and Python say.
func diagnose(err error, said string) error {
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	kind := func(sentinel error, detail string) error {
		return fmt.Errorf("%w%s: %w", sentinel, detail, err)
	}
	if m := refusal.FindStringSubmatch(said); m != nil {
		return fmt.Errorf("%w: %s", refusals[m[1]], m[2]) // all that there is to say
	}
	switch {
	case strings.Contains(said, "No module named alembic") || strings.Contains(said, "No module named 'alembic'"):
		return kind(ErrMissing, " in the release's environment")
	case unknownRevision.MatchString(said):
		m := unknownRevision.FindStringSubmatch(said)
		return &UnknownRevisionError{Revision: m[1] + m[2], err: err}
	case strings.Contains(said, "Multiple head revisions") || strings.Contains(said, "Multiple heads are present") || strings.Contains(said, "has multiple heads"):
		return kind(ErrSeveralHeads, ": merge them (alembic merge heads)")
	case strings.Contains(said, "Target database is not up to date"):
		return kind(ErrNotUpToDate, "")
	case strings.Contains(said, "New upgrade operations detected"):
		return kind(ErrDrift, ": "+lastLine(said, "FAILED: "))
	case strings.Contains(said, "due to lock timeout"):
		return kind(ErrLockTimeout, ": something holds a table; try again when it is free")
	case strings.Contains(said, "due to statement timeout"):
		return kind(ErrStatementTimeout, "")
	}
	if failed := lastLine(said, "FAILED: "); failed != "" && !strings.Contains(exit.Stderr, failed) {
		return fmt.Errorf("%s: %w", failed, err)
	}
	return err
}

func lastLine(text, prefix string) (found string) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			found = rest
		}
	}
	return found
}

// An UnknownRevisionError names a revision, of the database or asked for, for
// which the release has no file; it is ErrUnknownRevision.
type UnknownRevisionError struct {
	Revision string
	err      error
}

func (e *UnknownRevisionError) Error() string {
	return fmt.Sprintf("%v %s: no migration file of this release has it, another release's may: %v", ErrUnknownRevision, e.Revision, e.err)
}

// Is makes it ErrUnknownRevision.
func (e *UnknownRevisionError) Is(target error) bool { return target == ErrUnknownRevision }

// Unwrap returns the command's error.
func (e *UnknownRevisionError) Unwrap() error { return e.err }
