package checklist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/alembic"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// checkMigrations is “Check for pending migrations”. Running them belongs to
// the cut-over, behind the backup.
var checkMigrations = Check{
	Name:    "pre:migrations",
	Command: "alembic current\nalembic heads",
	Python:  true,
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		conn, books, err := t.readBooks(ctx)
		if conn != nil {
			defer conn.Close(context.WithoutCancel(ctx))
		}
		if err != nil {
			return []report.Finding{marked(unseen(versionTable, err, "see pre:connections"), "revision", nil)}
		}
		if f, broken := judgeBooks(books); broken {
			return []report.Finding{f}
		}
		if s.Release == nil {
			return []report.Finding{marked(warn(versionTable, "the database is at "+orNone(join(books.Heads))+"; no release is installed to hold it against", "run release:install, or deploy"), "revision", nil)}
		}
		plan, err := planFrom(ctx, t.alembic(s.Release.ID), strings.Join(books.Heads, ","))
		if err != nil {
			return []report.Finding{t.noPlan(ctx, s, plan, err)}
		}
		if s.migrations != nil {
			*s.migrations = plan
		}
		return append([]report.Finding{judgePlan(s, plan)}, t.judgePending(ctx, conn, plan)...)
	},
}

const versionTable = "table alembic_version"

// readBooks also returns the session that it has read by, which waits for no
// table long: a size is not worth waiting for behind somebody's migration.
func (t *Target) readBooks(ctx context.Context) (conn *pgx.Conn, books postgres.Bookkeeping, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*t.Config.Timeouts.Connect)
	defer cancel()
	if conn, err = t.connect(ctx, "etf-deploy"); err != nil {
		return nil, books, err
	}
	if _, err = conn.Exec(ctx, "SELECT set_config('lock_timeout', '3s', false)"); err == nil {
		books, err = postgres.ReadBookkeeping(ctx, conn)
	}
	return conn, books, err
}

// marked gives a finding what programs read.
func marked(f report.Finding, key string, counts map[string]int64, samples ...string) report.Finding {
	f.Key, f.Counts, f.Samples = key, counts, samples
	return f
}

// judgeBooks finds a database that does not say which migrations it comes from.
func judgeBooks(b postgres.Bookkeeping) (f report.Finding, broken bool) {
	if len(b.Heads) > 0 || len(b.Tables) == 0 {
		return f, false
	}
	what := "it is empty"
	if b.Missing {
		what = "it is not there"
	}
	what += fmt.Sprintf(", and the database holds %d tables: nothing says which migrations they come from", len(b.Tables))
	do := "find the revision that the tables are of, and write it with `alembic stamp REVISION`"
	if len(b.Elsewhere) > 0 {
		what += "; there is one in schema " + join(b.Elsewhere)
		do = "put that schema on the search_path of the owning role, or drop the wrong table"
	}
	return marked(fault(versionTable, what, do), "revision", map[string]int64{"tables": int64(len(b.Tables)), "rows": 0}, b.Tables[:min(len(b.Tables), 5)]...), true
}

// noPlan is why the way from the database to the release cannot be told.
func (t *Target) noPlan(ctx context.Context, s Subject, plan migrationPlan, err error) report.Finding {
	looked := "migrations of " + s.Release.ID
	var unknown *alembic.UnknownRevisionError
	var declared *alembic.DeclarationError
	switch {
	case errors.As(err, &unknown):
		knows, do := t.whoKnows(ctx, unknown.Revision)
		return marked(fault(looked, fmt.Sprintf("the database is at %s, which this release does not know; %s", unknown.Revision, knows), do), "revision", nil, unknown.Revision)
	case errors.Is(err, alembic.ErrSeveralHeads):
		return marked(faultOrUnseen(looked, err), "heads", nil)
	case errors.As(err, &declared):
		return marked(faultOrUnseen(looked, err), declared.Migration.Revision, map[string]int64{"reasons": int64(len(declared.Reasons))}, declared.Reasons...)
	case len(revisionsOf(plan.From)) > 1:
		return marked(fault(looked, fmt.Sprintf("the database is at several revisions, %s, from which there is no way on: %s", plan.From, firstLine(err.Error())),
			"correct alembic_version: it holds one row for each branch, and one only after they are merged"), "revision", nil, revisionsOf(plan.From)...)
	}
	return marked(faultOrUnseen(looked, err), "revision", nil)
}

// judgePlan is the database against the release as a whole.
func judgePlan(s Subject, plan migrationPlan) report.Finding {
	looked := "migrations of " + s.Release.ID
	counts := map[string]int64{"pending": int64(len(plan.Pending)), "rows": int64(len(revisionsOf(plan.From)))}
	var names []string
	for _, m := range plan.Pending {
		names = append(names, m.Revision+" "+m.Title)
	}
	rows := revisionsOf(plan.From)
	live := s.Live != nil && s.Live.ID == s.Release.ID
	f := found(looked, "none pending, the database is at %s", plan.To)
	switch {
	case len(rows) > 1 && live:
		f = fault(looked, fmt.Sprintf("the database is at %d revisions at once: %s; the live release is at %s", len(rows), join(rows), plan.To), "run the migration that merges them: release:migrate")
	case len(rows) > 1:
		f = warn(looked, fmt.Sprintf("the database is at %d revisions at once: %s; %d pending lead to %s: %s", len(rows), join(rows), len(plan.Pending), plan.To, strings.Join(names, "; ")),
			"look whether that was meant: what branches write beforehand cannot be judged as a whole")
	case len(plan.Pending) > 0:
		f = found(looked, "%d pending, %s → %s, %s: %s", len(plan.Pending), orNone(plan.From), plan.To, compatibility(plan), strings.Join(names, "; "))
		if live {
			f = warn(looked, f.Found, "the live release runs on an older schema than its own: see release:migrate")
		}
	}
	return marked(f, "revision", counts, names...)
}

// judgePending looks at each pending migration: whether there is a way back,
// and which tables it locks for how much work.
func (t *Target) judgePending(ctx context.Context, conn *pgx.Conn, plan migrationPlan) []report.Finding {
	if len(plan.Pending) == 0 {
		return nil
	}
	// Together: a table that one makes is new to those behind it, too.
	var sql []string
	for _, m := range plan.Pending {
		sql = append(sql, m.Up.SQL)
	}
	byMigration := alembic.LocksEach(sql)
	var findings []report.Finding
	for i, m := range plan.Pending {
		looked := "migration " + m.Revision + " " + m.Title
		locks, err := alembic.Weigh(ctx, conn, byMigration[i])
		if err != nil {
			findings = append(findings, marked(unseen(looked, err, "see pre:connections"), m.Revision, nil))
			continue
		}
		findings = append(findings, t.judgeMigration(ctx, looked, m, locks))
	}
	return findings
}

func (t *Target) judgeMigration(ctx context.Context, looked string, m alembic.Migration, locks []alembic.Lock) report.Finding {
	said, do := []string{"compatibility " + orUndeclared(m.Compatibility)}, []string{}
	there, judged, why := m.WayBack()
	counts := map[string]int64{"reversible": 0, "judged": 1, "locks": int64(len(locks)), "large": 0, "bytes": 0}
	switch {
	case there:
		counts["reversible"] = 1
		said = append(said, "can be taken back")
	case judged:
		said, do = append(said, "cannot be taken back: "+why), append(do, "a rollback over it restores the backup; write its downgrade if that takes too long")
	default:
		said, do = append(said, "whether it can be taken back is not known: "+why), append(do, "try its downgrade on a copy of the database")
	}
	if reason := t.unread(ctx, m); reason != "" {
		counts["judged"] = 0
		said, do = append(said, "what it does and locks could not be judged: "+reason), append(do, "look at it by hand, or write it so that `alembic upgrade --sql` shows all of it")
	}
	var samples []string
	for _, l := range locks {
		on := l.Table
		if on == "" {
			on = "tables that are not known"
		}
		size := ", not there yet"
		if l.Bytes >= 0 {
			size = " (" + report.Bytes(l.Bytes) + ")"
		}
		text := fmt.Sprintf("%s on %s%s: %s, %s", l.Kind, on, size, l.KeepsOut(), l.Why)
		if l.Bytes >= int64(t.Config.Thresholds.LargeTable) {
			counts["large"]++
			text, do = "large: "+text, append(do, l.Do+", instead of: "+l.Statement)
		}
		counts["bytes"] = max(counts["bytes"], l.Bytes)
		said, samples = append(said, text), append(samples, l.Statement)
	}
	if len(locks) == 0 && counts["judged"] == 1 {
		said = append(said, "locks no table for long")
	}
	f := found(looked, "%s", strings.Join(said, "; "))
	if len(do) > 0 {
		f = warn(looked, f.Found, strings.Join(do, "; "))
	}
	f = marked(f, m.Revision, counts, samples...)
	if len(locks) > 0 {
		f.Details = locks
	}
	return f
}

// unread is why the SQL of a migration is not, or not all, that it does.
func (t *Target) unread(ctx context.Context, m alembic.Migration) string {
	if m.Up.Error != "" {
		return "offline mode ends with " + firstLine(m.Up.Error)
	}
	switch source, err := t.Host.ReadFile(ctx, m.Path); {
	case err != nil:
		return err.Error()
	case strings.Contains(string(source), "is_offline_mode"):
		return "it does something else than the SQL that it writes beforehand (is_offline_mode)"
	}
	return ""
}

// WithSQL has pre:migrations show what the pending migrations will run: in
// their findings and, for people, in w.
func (l Checks) WithSQL(w io.Writer) Checks {
	var all Checks
	for _, c := range l {
		look := c.look
		c.look = func(ctx context.Context, t *Target, s Subject) []report.Finding {
			s.migrations = &migrationPlan{}
			findings := look(ctx, t, s)
			for _, m := range s.migrations.Pending {
				fmt.Fprintf(w, "\n-- Migration %s %s\n%s", m.Revision, m.Title, strings.TrimLeft(m.Up.SQL, "\n"))
				if m.Up.Error != "" {
					fmt.Fprintf(w, "-- cannot be written beforehand: %s\n", firstLine(m.Up.Error))
				}
				for i := range findings {
					if findings[i].Key == m.Revision {
						findings[i].SQL = m.Up.SQL
					}
				}
			}
			return findings
		}
		all = append(all, c)
	}
	return all
}
