package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/bitfield/script"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// ChangelogFile is where the service's changelog lies on the target.
func (t *Target) ChangelogFile() string { return path.Join(t.opsDir(), "CHANGELOG.md") }

// NotesFile is where the notes of an operation lie.
func (t *Target) NotesFile(op string) string { return path.Join(t.opsDir(), "notes", op+".md") }

// changelogStep is "Update changelog": what came with each release, from its
// commits.
type changelogStep struct{ inputs }

func (changelogStep) String() string { return "docs:changelog" }

func (s changelogStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	rel, commits, err := t.news(ctx, r.Operation)
	if err != nil {
		return err
	}
	old, err := t.Host.ReadFile(ctx, t.ChangelogFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	const title = "# Changelog of the ETF service\n"
	heading := fmt.Sprintf("## %s, release %s\n", rel.Activated.Format("2006-01-02 15:04 UTC"), rel.ID)
	rest := strings.TrimPrefix(string(old), title)
	if strings.Contains(rest, heading) {
		r.Say("%s has it already", t.ChangelogFile())
		return nil
	}
	entry := title + "\n" + heading + "\n" + bullets(commits) + rest
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	r.Say("%d commits in %s", len(commits), t.ChangelogFile())
	return t.Host.WriteFile(ctx, t.ChangelogFile(), []byte(entry), 0o644)
}

func bullets(lines []string) string {
	if len(lines) == 0 {
		return "- no new commits\n"
	}
	return "- " + strings.Join(lines, "\n- ") + "\n"
}

// news is the live release and the commits that came with it.
func (t *Target) news(ctx context.Context, op *step.Operation) (release.Release, []string, error) {
	rel, before, err := t.lastTwo(ctx, op)
	if err != nil {
		return rel, nil, err
	}
	commits, err := t.commits(ctx, t.mirrorDir(), before, rel.Commit)
	return rel, commits, err
}

// lastTwo is the live release and the commit that was live before it.
func (t *Target) lastTwo(ctx context.Context, op *step.Operation) (rel release.Release, before string, err error) {
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return rel, "", err
	}
	if live == nil {
		return rel, "", errors.New("no release is live: run deploy first")
	}
	all, err := t.Releases.All(ctx)
	if err != nil {
		return rel, "", err
	}
	id, err := previous(op)
	if err != nil {
		return rel, "", err
	}
	for _, r := range all {
		if r.ID == id || id == "" && r.ID != live.ID && r.Activated != nil && r.Activated.Before(*live.Activated) && r.State == release.Verified {
			before = r.Commit
		}
	}
	return *live, before, nil
}

var notBlank = regexp.MustCompile(`\S`)

// commits lists what a commit brings over another one, "abcdef12 subject" a
// line, newest first; without another one, the last twenty.
func (t *Target) commits(ctx context.Context, mirror, from, to string) ([]string, error) {
	args := []string{"--git-dir=" + mirror, "log", "--no-decorate", "--format=%h %s", "--abbrev=8"}
	if from == "" {
		args = append(args, "--max-count=20", to)
	} else {
		args = append(args, from+".."+to)
	}
	out, err := t.git(ctx, time.Minute, args...)
	if err != nil {
		return nil, fmt.Errorf("listing the commits of %s: %w", to[:8], err)
	}
	return script.Echo(out).MatchRegexp(notBlank).Slice()
}

// notesStep is "Record deployment notes".
type notesStep struct{ inputs }

func (notesStep) String() string { return "docs:notes" }

func (s notesStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	rel, commits, err := t.news(ctx, r.Operation)
	if err != nil {
		return err
	}
	// Of the operation that brought the release; this one may only write the paper.
	op := r.Operation
	if log, err := journal.Read(ctx, t.Host, path.Join(t.journalDir(), rel.ActivatedBy+".jsonl")); err == nil {
		if op.ID() != rel.ActivatedBy {
			j, err := journal.Open(ctx, t.Host, log.Path, t.Now)
			if err != nil {
				return err
			}
			op = step.NewOperation(j, t.Observer, t.Now)
		}
	}
	var text string
	switch op.Journal().Log().Header().Kind {
	case rollbackKind:
		text, err = t.rollbackNotes(op)
	case gradualKind:
		text, err = t.gradualText(op)
	default:
		text, err = t.notes(op, rel, commits)
	}
	if err != nil {
		return err
	}
	return t.writeNotes(ctx, r, op.ID(), text)
}

// writeNotes writes the notes of an operation.
func (t *Target) writeNotes(ctx context.Context, r *step.Run, op, text string) error {
	file := t.NotesFile(op)
	if err := t.Host.Mkdir(ctx, path.Dir(file), 0o755); err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	r.Say("%s", file)
	return t.Host.WriteFile(ctx, file, []byte(text), 0o644)
}

func (t *Target) notes(op *step.Operation, rel release.Release, commits []string) (string, error) {
	log := op.Journal().Log()
	workers, api, err := Stopped(op, t.Now())
	if err != nil {
		return "", err
	}
	var plan migrationPlan
	if _, err := op.Fact(factMigrations, &plan); err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Deployment of release %s\n", rel.ID)
	line("| | |\n|---|---|")
	line("| environment | %s |", t.Config.Environment)
	line("| operation | %s |", op.ID())
	line("| by | %s |", log.Header().By)
	if run := log.Header().Run; run != "" {
		line("| pipeline run | %s |", run)
	}
	line("| began | %s |", log.Began().Format(time.RFC3339))
	line("| commit | %s “%s” (%s) |", rel.Commit, rel.Subject, rel.Ref)
	line("| Alembic head | %s |", orNone(rel.Head))
	line("| workers stopped | %s |", report.Duration(workers))
	line("| API stopped | %s |", report.Duration(api))
	line("| backup | %s |", orNone(rel.Backup))
	if reason := log.Header().Reason; reason != "" {
		line("| override | %s |", reason)
	}
	line("\n## Commits\n\n%s", bullets(commits))
	line("## Migrations\n")
	if len(plan.Pending) == 0 {
		line("none\n")
	}
	for _, m := range plan.Pending {
		line("- %s %s (%s)", m.Revision, m.Title, orUndeclared(m.Compatibility))
	}
	stepsTable(&b, log)
	return b.String(), nil
}

func orUndeclared(compatibility string) string {
	if compatibility == "" {
		return "not declared"
	}
	return compatibility
}
