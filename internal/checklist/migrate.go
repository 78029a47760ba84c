package checklist

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/alembic"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

const (
	factMigrations = "migrations" // migrationPlan: what release:migrate set out to do
	factSchema     = "schema"     // schemaState: how it found the schema
	factRestore    = "restore"    // names of the databases that a restore works with
)

// A migrationPlan is what separates the database from a release.
type migrationPlan struct {
	From       string              `json:"from"` // heads of the database, comma-separated; "" for none
	To         string              `json:"to"`   // head of the release
	Pending    []alembic.Migration `json:"pending"`
	Compatible bool                `json:"compatible"`        // the release before can run on the new schema
	Reasons    []string            `json:"reasons,omitempty"` // why not

	ChangesData bool `json:"changes_data"` // rows are rewritten, or it cannot be told
}

// schemaState identifies a schema: Alembic's word for it and what is really there.
type schemaState struct {
	Head        string `json:"head"`
	Fingerprint string `json:"fingerprint"`
}

// databaseHead is the revision that the database says it is at.
func (t *Target) databaseHead(ctx context.Context) (string, error) {
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	heads, err := postgres.Heads(ctx, conn)
	return strings.Join(heads, ","), err
}

// planMigrations compares the database with a release. Whether the old code
// can go on running meanwhile is read from what each migration declares and
// from the SQL that it would run; where they disagree it is an error.
func (t *Target) planMigrations(ctx context.Context, id string) (migrationPlan, error) {
	current, err := t.databaseHead(ctx)
	if err != nil {
		return migrationPlan{}, err
	}
	return planFrom(ctx, t.alembic(id), current)
}

// planFrom is the plan for a database at these revisions, comma-separated.
func planFrom(ctx context.Context, a *alembic.Client, current string) (migrationPlan, error) {
	plan := migrationPlan{From: current, Compatible: true}
	outlook, err := a.Look(ctx, revisionsOf(current))
	if err != nil {
		return plan, err
	}
	if len(outlook.Heads) != 1 {
		return plan, fmt.Errorf("%w: %w: %d heads: %s: merge them with `alembic merge heads` and commit that", step.ErrFault, alembic.ErrSeveralHeads, len(outlook.Heads), join(outlook.Heads))
	}
	plan.To, plan.Pending = outlook.Heads[0], outlook.Pending
	for _, m := range plan.Pending {
		if m.Compatibility != alembic.Expand {
			plan.Compatible = false
			plan.Reasons = append(plan.Reasons, fmt.Sprintf("%s does not declare to be an expansion", m.Revision))
		}
	}
	sql, err := outlook.SQL()
	if err != nil {
		plan.Compatible, plan.ChangesData = false, true
		plan.Reasons = append(plan.Reasons, "the SQL cannot be shown beforehand: "+firstLine(err.Error()))
		return plan, nil
	}
	plan.ChangesData = alembic.ChangesData(sql)
	if err := alembic.CheckDeclared(plan.Pending, sql); err != nil {
		return plan, fmt.Errorf("%w: %w", step.ErrFault, err)
	}
	return plan, nil
}

func revisionsOf(head string) []string {
	return strings.FieldsFunc(head, func(r rune) bool { return r == ',' })
}

// migrateStep is "Run migrations" and, behind it, "Verify migration success".
type migrateStep struct{ inputs }

func (migrateStep) String() string { return "release:migrate" }

func (migrateStep) ChangesService() {}

func (s migrateStep) Deadline() time.Duration {
	return s.t.Config.Database.StatementTimeout + 2*time.Hour
}

func (s migrateStep) Describe(context.Context) ([]string, error) {
	db := s.t.Config.Database
	return []string{
		fmt.Sprintf("alembic upgrade head, as the owning role, lock_timeout %s, statement_timeout %s", db.LockTimeout, db.StatementTimeout),
		"the API is stopped for it only where a migration is not declared `# compatibility: expand`",
		"alembic check",
	}, nil
}

func (s migrateStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	plan, err := t.plannedMigrations(ctx, r, rel.ID)
	if err != nil {
		return err
	}
	if len(plan.Pending) == 0 {
		r.Say("the database is at %s already", plan.To)
		return nil
	}
	if err := withinWindow(r.Operation); err != nil {
		return err
	}
	if err := t.noteBackup(ctx, r, plan.From); err != nil {
		return err
	}
	before, err := t.schemaState(ctx)
	if err != nil {
		return err
	}
	if err := r.NoteOnce(ctx, factSchema, before); err != nil {
		return err
	}
	if !plan.Compatible {
		if err := t.stopAPI(ctx, r); err != nil {
			return err
		}
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	out := &lineWriter{each: func(line string) { r.Progress(0, 0, line) }}
	if err := t.migrator(r, rel.ID).Upgrade(ctx, "head", out); err != nil {
		return err
	}
	after, err := t.databaseHead(ctx)
	if err != nil {
		return err
	}
	if after != plan.To {
		return fmt.Errorf("after the migration the database is at %q, not at %q", after, plan.To)
	}
	if err := t.alembic(rel.ID).Check(ctx); err != nil {
		return err
	}
	r.Say("%s → %s, %d migrations, %s", orNone(plan.From), plan.To, len(plan.Pending), compatibility(plan))
	return nil
}

// backupAge is how old a backup may be that a migration by itself relies on.
const backupAge = time.Hour

// noteBackup finds the backup that an undo would restore: the operation's own,
// or, for a migration by itself, the one that was taken for it just before.
func (t *Target) noteBackup(ctx context.Context, r *step.Run, head string) error {
	var id string
	if ok, err := r.Operation.Fact(factBackup, &id); err != nil || ok {
		return err
	}
	all, err := t.Backups(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Proof.Contents != nil && t.Now().Sub(m.Created) <= backupAge && join(m.Database.AlembicHeads) == head {
			return r.Note(ctx, factBackup, m.ID)
		}
	}
	return fmt.Errorf("there is no proven backup of the last hour with the database at %s: run backup:create first", orNone(head))
}

// plannedMigrations is the plan that pre:migrations made in this operation,
// while nothing was stopped yet; it is made anew only where that was not run
// or the database has moved since.
func (t *Target) plannedMigrations(ctx context.Context, r *step.Run, id string) (migrationPlan, error) {
	var plan migrationPlan
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return plan, err
	}
	if planned, err := r.Operation.Fact(factMigrations, &plan); err != nil {
		return plan, err
	} else if planned && plan.To == rel.Head {
		head, err := t.databaseHead(ctx)
		if err != nil || head == plan.From {
			return plan, err
		}
		// An interrupted try has come some way: what has to be taken back, and
		// whether the API may run meanwhile, is as planned for the whole.
		var before schemaState
		if began, err := r.Operation.Fact(factSchema, &before); err != nil || began {
			return plan, err
		}
	}
	if plan, err = t.planMigrations(ctx, id); err != nil {
		return plan, err
	}
	return plan, r.Note(ctx, factMigrations, plan)
}

func compatibility(p migrationPlan) string {
	if p.Compatible {
		return "under the running API"
	}
	return "with the API stopped"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (t *Target) schemaState(ctx context.Context) (schemaState, error) {
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return schemaState{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	heads, err := postgres.Heads(ctx, conn)
	if err != nil {
		return schemaState{}, err
	}
	print, err := postgres.Fingerprint(ctx, conn)
	return schemaState{Head: strings.Join(heads, ","), Fingerprint: print}, err
}

// Probe asks whether the database is at the release's head.
func (s migrateStep) Probe(ctx context.Context, r *step.Run) (bool, error) {
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return false, err
	}
	head, err := s.t.databaseHead(ctx)
	if err != nil || head != rel.Head {
		return false, err
	}
	return true, s.t.alembic(rel.ID).Check(ctx)
}
