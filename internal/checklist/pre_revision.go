package checklist

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
)

// searchTimeout bounds a search through the commits of the origin.
const searchTimeout = 15 * time.Second

// whoKnows looks for the migration of a revision: in the installed releases,
// then in all commits that were ever fetched.
func (t *Target) whoKnows(ctx context.Context, revision string) (found, do string) {
	all, err := t.Releases.All(ctx)
	if err != nil {
		return "the releases cannot be read: " + err.Error(), "mend them, then look again"
	}
	all = slices.DeleteFunc(all, func(r release.Release) bool { return r.State == release.Building })
	slices.Reverse(all)
	for _, r := range all {
		if slices.Contains(revisionsOf(r.Head), revision) {
			return fmt.Sprintf("release %s “%s” (%s) is at it", r.ID, r.Subject, r.State), "deploy -ref=" + r.Commit + ", or go back to the schema before it: rollback:plan"
		}
	}
	// As Python assigns it, at the beginning of a line.
	pattern := `^revision *(: *[A-Za-z_.]+ *)?= *['"]` + regexp.QuoteMeta(revision) + `['"]`
	if len(all) > 0 {
		args := []string{"--git-dir=" + t.mirrorDir(), "grep", "-l", "-E", "-e", pattern}
		for _, r := range all {
			args = append(args, r.Commit)
		}
		out, err := t.git(ctx, searchTimeout, append(args, "--", "*.py")...)
		if commit, file, ok := strings.Cut(firstLine(out), ":"); ok && err == nil {
			for _, r := range all {
				if r.Commit == commit {
					return fmt.Sprintf("release %s “%s” (%s) knows it: %s", r.ID, r.Subject, r.State, file), "deploy -ref=" + r.Commit + ", or go back to the schema before it: rollback:plan"
				}
			}
		}
	}
	out, err := t.git(ctx, searchTimeout, "--git-dir="+t.mirrorDir(), "log", "--all", "--max-count=1", "--diff-filter=A", "--format=%H %s", "-E", "-G", pattern, "--", "*.py")
	if commit, subject, ok := strings.Cut(out, " "); ok && err == nil {
		return fmt.Sprintf("no installed release knows it, commit %.8s “%s” of the origin brought it", commit, subject), "deploy -ref=" + commit + " or a later one, or go back to the schema before it"
	}
	found, do = "no installed release and no commit of the origin knows it", "find out who has migrated this database, and with what; `alembic stamp` only once the schema is known"
	var exit *host.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.Code == 1) {
		found = "no installed release is at it, and the commits of the origin could not be searched: " + firstLine(err.Error())
	}
	return found, do
}
