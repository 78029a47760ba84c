// Package checklist is the deployment plan as code: each of its sections a
// visible list of steps, in the plan's order. What a step needs of the target
// it gets from a Target; what it found out for later steps, or for whoever
// takes it back, it notes in the journal.
package checklist

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/alembic"
	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// A Target is an environment of the configuration with the means to reach it.
type Target struct {
	Config   *config.Config
	Host     host.Host
	Releases *release.Store
	Observer step.Observer
	Now      func() time.Time // the clock; tests set it

	maintenance *maintenance // while the lease is held; nil does nothing
}

// NewTarget looks at the environment that cfg describes. It connects to
// nothing yet.
func NewTarget(cfg *config.Config, o step.Observer) *Target {
	h := host.Local{}
	return &Target{
		Config:   cfg,
		Host:     h,
		Releases: release.NewStore(h, cfg.Root),
		Observer: o,
		Now:      time.Now,
	}
}

// RegisterSecrets reads the service's .env for what must not be shown: log
// tails of its processes may hold it. That it cannot be read is for the checks
// to say.
func (t *Target) RegisterSecrets(ctx context.Context) {
	if content, err := t.Host.ReadFile(ctx, t.Config.Env.File); err == nil {
		_ = t.Config.Env.Check(content)
	}
}

// Folders of the target.
func (t *Target) opsDir() string             { return path.Join(t.Config.Root, "ops") }
func (t *Target) journalDir() string         { return path.Join(t.opsDir(), "journal") }
func (t *Target) sharedDir() string          { return path.Join(t.Config.Root, "shared") }
func (t *Target) backupDir(id string) string { return path.Join(t.Config.Root, "backups", id) }
func (t *Target) mirrorDir() string          { return path.Join(t.Config.Root, "repo.git") }

// backend is the folder of a release in which the service's code lies.
func (t *Target) backend(id string) string {
	return t.Config.WorkDir(t.Releases.Dir(id))
}

func (t *Target) venvPython(id string) string {
	return path.Join(t.Releases.Dir(id), ".venv", "bin", "python")
}

func (t *Target) supervisor() *supervisor.Client {
	return supervisor.New(t.Host, t.Config.Services.Socket)
}

func (t *Target) cache() (*cache.Client, error) {
	return cache.New(t.Host, t.Config.Cache.URL, cache.Options{
		Flags: []string{t.Config.Cache.PauseKey}, Queues: []string{t.Config.Celery.Queue},
	})
}

// celery speaks to the workers by the broker. A broker that is reached by
// Celery's own command needs the release whose environment has it.
func (t *Target) celery(id string) (celery.Control, error) {
	return celery.New(t.Host, celery.Options{
		BrokerURL: t.Config.BrokerURL,
		App:       t.Config.Celery.App,
		Python:    t.venvPython(id),
		Dir:       t.backend(id),
	})
}

// connect opens a session of the owning role, named after the operation that
// ctx belongs to.
func (t *Target) connect(ctx context.Context, name string) (*pgx.Conn, error) {
	u, err := t.databaseURL()
	if err != nil {
		return nil, err
	}
	if limit := t.Config.Timeouts.Connect; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s (timeouts.connect): %w", limit, context.DeadlineExceeded))
		defer cancel()
	}
	return postgres.Connect(ctx, t.Host, u, name)
}

// databaseURL is the live database, as the owning role.
func (t *Target) databaseURL() (postgres.URL, error) {
	u, err := postgres.ParseURL(t.Config.Database.URL)
	if err != nil {
		return u, fmt.Errorf("%w: database.url of %s: %w", config.ErrInvalid, t.Config.Environment, err)
	}
	return u.WithDatabase(t.Config.Database.Name), nil
}

// alembic speaks to the migrations of a release as the owning role.
func (t *Target) alembic(id string) *alembic.Client {
	return t.alembicAt(t.venvPython(id), t.backend(id))
}

// alembicAt does so for the migrations in dir, by any environment that has
// what they need.
func (t *Target) alembicAt(python, dir string) *alembic.Client {
	return alembic.New(t.Host, t.alembicOptions(python, dir))
}

// migrator is alembic for a step that migrates: its sessions carry the
// operation's name and fence.
func (t *Target) migrator(r *step.Run, id string) *alembic.Client {
	o := t.alembicOptions(t.venvPython(id), t.backend(id))
	o.ApplicationName, o.Fence = r.ApplicationName(), r.Token()
	return alembic.New(t.Host, o)
}

func (t *Target) alembicOptions(python, dir string) alembic.Options {
	db := t.Config.Database
	return alembic.Options{
		Python:           python,
		Dir:              dir,
		Env:              t.migrationEnv(),
		LockTimeout:      db.LockTimeout,
		StatementTimeout: db.StatementTimeout,
	}
}

// migrationEnv has Alembic work as the owning role; the service's own .env
// names the role that serves.
func (t *Target) migrationEnv() []string { return []string{"DATABASE_URL=" + t.Config.Database.URL} }

// pipEnv names the package index. By environment: its address may hold a password.
func (t *Target) pipEnv() []string {
	if t.Config.Python.PackageIndex == "" {
		return nil
	}
	return []string{"PIP_INDEX_URL=" + t.Config.Python.PackageIndex}
}

// Whoami is user@machine, for journals and leases.
func Whoami() string {
	name := os.Getenv("GITHUB_ACTOR")
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	machine, err := os.Hostname()
	if err != nil {
		machine = "unknown"
	}
	return fmt.Sprintf("%s@%s", name, machine)
}

// runURL is the pipeline run that this process belongs to, if any.
func runURL() string {
	for _, name := range []string{"ETF_RUN_URL", "CI_PIPELINE_URL", "BUILD_URL"} { // anybody's, GitLab, Jenkins
		if url := os.Getenv(name); url != "" {
			return url
		}
	}
	if os.Getenv("GITHUB_RUN_ID") == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s/actions/runs/%s", os.Getenv("GITHUB_SERVER_URL"), os.Getenv("GITHUB_REPOSITORY"), os.Getenv("GITHUB_RUN_ID"))
}
