package checklist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// installStep is "pip install" done aside: the release's own virtual
// environment, compiled, and its own copy of the configuration.
type installStep struct{ inputs }

func (installStep) String() string { return "release:install" }

func (s installStep) Deadline() time.Duration { return s.t.Config.Python.Timeout + time.Minute }

func (s installStep) Describe(context.Context) ([]string, error) {
	return []string{
		s.t.Config.Python.Interpreter + " -m venv <release>/.venv",
		"<release>/.venv/bin/python -m pip install -r " + s.t.Config.Python.Requirements,
		"cp " + s.t.Config.Env.File + " <release>/.env",
	}, nil
}

func (s installStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	// Said now, not after the half minute that the installation takes.
	if err := t.envThere(ctx); err != nil {
		return err
	}
	recorded, err := t.Releases.Find(ctx, rel.ID)
	if err != nil {
		return err
	}
	switch recorded.State {
	case release.Building, release.Fetched:
	case release.Installed: // the configuration may have changed since
		r.Say("installed already")
		return errors.Join(r.Fault(ctx, "during"), t.copyEnv(ctx, rel.ID))
	default: // processes may run in it
		r.Say("installed already, %s", recorded.State)
		return r.Fault(ctx, "during")
	}
	dir := t.Releases.Dir(rel.ID)
	venv := path.Join(dir, ".venv")
	r.Progress(0, 0, "making the virtual environment")
	if _, err := t.Host.Run(ctx, host.Command{
		Argv: []string{t.Config.Python.Interpreter, "-m", "venv", "--clear", venv}, Timeout: 2 * time.Minute,
	}); err != nil {
		return fmt.Errorf("making the virtual environment: %w", err)
	}
	packages, err := s.pip(ctx, r, rel.ID)
	if err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	// Compiled now, so that no process has to do it at the cut-over.
	if _, err := t.Host.Run(ctx, host.Command{
		Argv: []string{t.venvPython(rel.ID), "-m", "compileall", "-q", t.backend(rel.ID)}, Timeout: 2 * time.Minute,
	}); err != nil {
		return fmt.Errorf("compiling the release: %w", err)
	}
	if err := t.copyEnv(ctx, rel.ID); err != nil {
		return err
	}
	heads, err := t.alembic(rel.ID).Heads(ctx)
	if err != nil {
		return err
	}
	rel.Head = strings.Join(heads, ",")
	rel.State = release.Installed
	if err := t.Releases.Put(ctx, rel); err != nil {
		return err
	}
	r.Say("%d packages in %s", packages, rel.ID)
	return r.Note(ctx, factRelease, rel)
}

// Probe asks whether the release is recorded as installed.
func (s installStep) Probe(ctx context.Context, r *step.Run) (bool, error) {
	rel, err := releaseToCome(r.Operation)
	if err != nil || rel.State == release.Installed { // before: only its configuration is copied
		return false, err
	}
	recorded, err := s.t.Releases.Find(ctx, rel.ID)
	if err != nil || recorded.State != release.Installed {
		return false, err
	}
	// The record came before the note.
	return true, r.Note(ctx, factRelease, recorded)
}

// Digest also covers the service's configuration, of which the release gets
// its copy.
func (s installStep) Digest(ctx context.Context, r *step.Run) (string, error) {
	common, err := s.inputs.Digest(ctx, r)
	if err != nil {
		return "", err
	}
	env, err := s.t.Host.ReadFile(ctx, s.t.Config.Env.File)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // Run says what to do
	}
	return common + " env=" + digest(r.ID()+string(env)), err
}

// pip installs the requirements and counts the packages on the way.
func (s installStep) pip(ctx context.Context, r *step.Run, id string) (int, error) {
	t := s.t
	requirements := path.Join(t.backend(id), t.Config.Python.Requirements)
	content, err := t.Host.ReadFile(ctx, requirements)
	if err != nil {
		return 0, err
	}
	collected := 0
	out := &lineWriter{each: func(line string) {
		switch {
		case strings.HasPrefix(line, "Collecting "):
			collected++
			r.Progress(int64(collected), 0, strings.Fields(line)[1])
		case strings.HasPrefix(line, "Installing collected packages"):
			r.Progress(int64(collected), 0, fmt.Sprintf("unpacking %d packages", collected))
		}
	}}
	args := []string{t.venvPython(id), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off", "-r", requirements}
	_, err = t.Host.Run(ctx, host.Command{Argv: args, Env: t.pipEnv(), Stdout: out, Timeout: t.Config.Python.Timeout})
	if err != nil {
		return 0, fmt.Errorf("installing %s (%d lines) from the package index: %w", requirements, bytes.Count(content, []byte("\n")), err)
	}
	return collected, nil
}

// copyEnv gives a release the configuration as it is now, so that a rollback
// finds the one that the release ran with.
func (t *Target) copyEnv(ctx context.Context, id string) error {
	if err := t.envThere(ctx); err != nil {
		return err
	}
	b, err := t.Host.ReadFile(ctx, t.Config.Env.File)
	if err != nil {
		return fmt.Errorf("copying env.file into the release: %w", err)
	}
	return t.Host.WriteFile(ctx, path.Join(t.Releases.Dir(id), ".env"), b, 0o600)
}

// envThere fails with a fault when the service has no .env.
func (t *Target) envThere(ctx context.Context) error {
	_, err := t.Host.Stat(ctx, t.Config.Env.File)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: env.file %s is not there: write it, mode 0600; env.keys in %s lists what it must hold", step.ErrFault, t.Config.Env.File, t.Config.File)
	}
	return err
}

// lineWriter calls each with every whole line that is written to it.
type lineWriter struct {
	each func(line string)
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.each(string(w.rest[:i]))
		w.rest = w.rest[i+1:]
	}
}
