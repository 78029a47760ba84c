package checklist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// A Plan is what a deployment would do, found out without changing anything
// on the target.
type Plan struct {
	Version    int        `json:"version"`
	Ref        string     `json:"ref"`
	Commit     string     `json:"commit"`
	Subject    string     `json:"subject"`
	Live       string     `json:"live,omitempty"` // id of the live release
	Commits    []string   `json:"commits"`
	Migrations []string   `json:"migrations"` // "0002 title (compatibility)"
	SQL        string     `json:"sql,omitempty"`
	Steps      []PlanStep `json:"steps"`
	Window     string     `json:"window"`
	Notes      []string   `json:"notes,omitempty"`
}

// A PlanStep is one step and what it would run.
type PlanStep struct {
	Name  string   `json:"name"`
	Would []string `json:"would"`
}

// Plan looks at what a deployment would do. The commits are fetched into a
// folder of its own that is removed again; with withSQL the migrations are
// rendered, too, by the environment of an installed release, or by one made
// for it.
func (t *Target) Plan(ctx context.Context, o Options, withSQL bool) (*Plan, error) {
	if o.Ref == "" {
		o.Ref = t.Config.Source.Ref
	}
	if err := CheckRef(o.Ref); err != nil {
		return nil, err
	}
	scratch, err := t.scratch(ctx)
	if err != nil {
		return nil, err
	}
	defer t.Host.Remove(context.WithoutCancel(ctx), scratch)
	p := &Plan{Version: formatVersion, Ref: o.Ref}
	mirror := path.Join(scratch, "repo.git")
	if err := t.scratchMirror(ctx, mirror); err != nil {
		return nil, err
	}
	if p.Commit, p.Subject, err = t.resolve(ctx, mirror, o.Ref); err != nil {
		return nil, err
	}
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return nil, err
	}
	from := ""
	if live != nil {
		p.Live, from = live.ID, live.Commit
		if live.Commit == p.Commit {
			p.Notes = append(p.Notes, "this commit is live already: deploy does nothing without -force")
		}
	} else {
		p.Notes = append(p.Notes, "this is the first deployment: no workers to ask, no release to go back to")
	}
	if p.Commits, err = t.commits(ctx, mirror, from, p.Commit); err != nil {
		return nil, err
	}
	if err := t.planMigrationsOf(ctx, p, mirror, path.Join(scratch, "tree"), live, withSQL); err != nil {
		return nil, err
	}
	p.Window = t.windowLine(ctx)
	p.Steps, err = t.describe(ctx, o)
	return p, err
}

// scratch is a new folder beside nothing of the target's.
func (t *Target) scratch(ctx context.Context) (string, error) {
	res, err := t.Host.Run(ctx, host.Command{Argv: []string{"mktemp", "-d", "-t", "etf-plan.XXXXXXXXXX"}})
	if err != nil {
		return "", fmt.Errorf("making a folder for the plan: %w", err)
	}
	return strings.TrimSpace(string(res.Stdout)), nil
}

// scratchMirror fetches the origin, with the help of the mirror on the target
// where there is one.
func (t *Target) scratchMirror(ctx context.Context, dir string) error {
	args := []string{"init", "--quiet", "--bare", dir}
	if _, err := t.Host.Stat(ctx, t.mirrorDir()); err == nil {
		args = []string{"clone", "--quiet", "--bare", "--shared", t.mirrorDir(), dir}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := t.git(ctx, time.Minute, args...); err != nil {
		return err
	}
	return t.fetchInto(ctx, dir)
}

// planMigrationsOf reads the pending migrations out of the commit.
func (t *Target) planMigrationsOf(ctx context.Context, p *Plan, mirror, tree string, live *release.Release, withSQL bool) error {
	head, err := t.databaseHead(ctx)
	if err != nil {
		p.Notes = append(p.Notes, "migrations: "+err.Error())
		return nil
	}
	if err := t.unpack(ctx, mirror, p.Commit, tree); err != nil {
		return err
	}
	python := ""
	if live != nil {
		python = t.venvPython(live.ID)
	} else if withSQL {
		if python, err = t.scratchPython(ctx, tree); err != nil {
			return err
		}
	}
	if python == "" {
		names, err := t.Host.List(ctx, path.Join(t.Config.WorkDir(tree), "alembic", "versions"))
		if err != nil {
			return err
		}
		for _, n := range names {
			if strings.HasSuffix(n, ".py") {
				p.Migrations = append(p.Migrations, n)
			}
		}
		p.Notes = append(p.Notes, fmt.Sprintf("the database is at %s; which of the migrations are pending is known once a release is installed, or with -sql", orNone(head)))
		return nil
	}
	outlook, err := t.alembicAt(python, t.Config.WorkDir(tree)).Look(ctx, revisionsOf(head))
	if err != nil {
		return err
	}
	if len(outlook.Heads) != 1 {
		return fmt.Errorf("%w: %s has %d Alembic heads (%s): merge them with `alembic merge`", step.ErrFault, p.Commit[:8], len(outlook.Heads), strings.Join(outlook.Heads, ", "))
	}
	for _, m := range outlook.Pending {
		p.Migrations = append(p.Migrations, fmt.Sprintf("%s %s (%s)", m.Revision, m.Title, orUndeclared(m.Compatibility)))
	}
	if withSQL {
		p.SQL, err = outlook.SQL()
	}
	return err
}

// scratchPython installs the requirements of a commit for the plan alone.
func (t *Target) scratchPython(ctx context.Context, tree string) (string, error) {
	venv := path.Join(tree, ".venv")
	python := path.Join(venv, "bin", "python")
	for _, argv := range [][]string{
		{t.Config.Python.Interpreter, "-m", "venv", venv},
		{python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r", path.Join(t.Config.WorkDir(tree), t.Config.Python.Requirements)},
	} {
		if _, err := t.Host.Run(ctx, host.Command{Argv: argv, Env: t.pipEnv(), Timeout: t.Config.Python.Timeout}); err != nil {
			return "", fmt.Errorf("preparing to show the SQL: %w", err)
		}
	}
	return python, nil
}

func (t *Target) windowLine(ctx context.Context) string {
	needs := t.expectedCutOver(ctx)
	opening, err := t.Config.Window.At(t.Now(), needs)
	if err != nil {
		line := err.Error()
		if !t.Config.Window.Enforce {
			line += " (not enforced in " + t.Config.Environment + ")"
		}
		return line
	}
	return openingText(opening)
}

// describe lists the steps and what each would run.
func (t *Target) describe(ctx context.Context, o Options) ([]PlanStep, error) {
	agenda := t.deploy(o)
	var all []PlanStep
	for _, s := range step.Flat(append(agenda.Steps, agenda.Record...)) {
		ps := PlanStep{Name: s.String()}
		if d, ok := s.(step.Describer); ok {
			var err error
			if ps.Would, err = d.Describe(ctx); err != nil {
				return nil, err
			}
		}
		all = append(all, ps)
	}
	return all, nil
}

// Text is the plan for people.
func (p *Plan) Text(w io.Writer) {
	fmt.Fprintf(w, "Deployment of %s: %s “%s”\n", p.Ref, p.Commit[:8], p.Subject)
	live := "none, this is the first deployment"
	if p.Live != "" {
		live = p.Live
	}
	fmt.Fprintf(w, "Live now: %s\nWindow:   %s\n\nCommits (%d)\n", live, p.Window, len(p.Commits))
	for _, c := range p.Commits {
		fmt.Fprintln(w, "  "+c)
	}
	fmt.Fprintf(w, "\nMigrations (%d)\n", len(p.Migrations))
	for _, m := range p.Migrations {
		fmt.Fprintln(w, "  "+m)
	}
	if p.SQL != "" {
		fmt.Fprintf(w, "\nTheir SQL\n\n%s\n", p.SQL)
	}
	fmt.Fprintln(w, "\nSteps")
	for _, s := range p.Steps {
		fmt.Fprintln(w, "  "+s.Name)
		for _, line := range s.Would {
			fmt.Fprintln(w, "      "+line)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintln(w, "\nNote: "+n)
	}
}
