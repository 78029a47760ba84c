package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/alembic"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

func (t *Target) dumpOf(m *Manifest) string { return path.Join(t.backupDir(m.ID), dumpFile) }

// chooseWay takes the first of some ways that loses nothing; none where each
// has a reason against it.
func (t *Target) chooseWay(ctx context.Context, p *RollbackPlan, among []Way) error {
	for _, way := range among {
		why, err := t.against(ctx, p, way)
		if err != nil {
			return err
		}
		if why == "" {
			p.Way = way
			return nil
		}
		p.Reasons = append(p.Reasons, fmt.Sprintf("%s: %s", way, why))
	}
	return nil
}

// against says why a way is not possible; empty where it is.
func (t *Target) against(ctx context.Context, p *RollbackPlan, way Way) (string, error) {
	switch way {
	case WayCode:
		if p.Head != p.To.Head {
			return fmt.Sprintf("the database is at %s, release %s wants %s", orNone(p.Head), p.To.ID, orNone(p.To.Head)), nil
		}
		return "", nil
	case WayDowngrade:
		return t.againstDowngrade(ctx, p)
	}
	switch {
	case p.Backup == nil:
		return fmt.Sprintf("there is no proven backup that was taken while release %s was live", p.To.ID), nil
	case join(p.Backup.Database.AlembicHeads) != p.To.Head:
		return fmt.Sprintf("backup %s is at %s, release %s wants %s", p.Backup.ID, orNone(join(p.Backup.Database.AlembicHeads)), p.To.ID, orNone(p.To.Head)), nil
	case p.Backup.Database.Database != t.Config.Database.Name:
		return fmt.Sprintf("backup %s is of database %s, not of %s", p.Backup.ID, p.Backup.Database.Database, t.Config.Database.Name), nil
	}
	if _, err := t.Host.Stat(ctx, t.dumpOf(p.Backup)); err != nil {
		return fmt.Sprintf("the dump of backup %s is not there: %v", p.Backup.ID, err), nil
	}
	warning, err := t.roomBeside(ctx, p.Backup.Database, "etf-deploy")
	if errors.Is(err, step.ErrFault) {
		return err.Error(), nil
	}
	if warning != "" {
		t.Observer.Log("rollback:plan", warning)
	}
	return "", err
}

// againstDowngrade looks whether migrations that some release has lead back,
// and what they would take with them.
func (t *Target) againstDowngrade(ctx context.Context, p *RollbackPlan) (string, error) {
	if p.Head == p.To.Head {
		return "the database is at " + orNone(p.Head) + " already", nil
	}
	knows, migrations, err := t.migrationsBack(ctx, p)
	if err != nil {
		return err.Error(), ctx.Err()
	}
	p.Knows, p.Migrations = knows, migrations
	slices.Reverse(p.Migrations) // as they are taken back
	sql, err := t.alembic(knows).DowngradeSQL(ctx, p.Head, p.To.Head)
	if err != nil {
		return "a migration has no way back: " + firstLine(err.Error()), ctx.Err()
	}
	p.Beside = !slices.ContainsFunc(migrations, func(m alembic.Migration) bool { return m.Compatibility != alembic.Expand })
	for _, m := range p.Migrations {
		text, err := t.Host.ReadFile(ctx, m.Path)
		if err != nil {
			return "", err
		}
		if strings.Contains(string(text), "is_offline_mode") {
			return fmt.Sprintf("migration %s does something else than the SQL that it writes beforehand (is_offline_mode)", m.Revision), nil
		}
	}
	drops, others := alembic.Losses(sql)
	if len(others) > 0 {
		return "it cannot be told that it leaves every value as it is: " + strings.Join(others, "; "), nil
	}
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var lost []string
	for _, d := range drops {
		holds, err := holdsData(ctx, conn, d)
		if err != nil {
			return "", fmt.Errorf("looking what %s holds: %w", d, err)
		}
		if holds {
			lost = append(lost, d.String())
		}
	}
	if len(lost) > 0 {
		return "it would drop what was written to " + join(lost), nil
	}
	return "", nil
}

// migrationsBack finds the release whose files know the way from the database's
// revision to that of the release to go to: the live one, as a rule.
func (t *Target) migrationsBack(ctx context.Context, p *RollbackPlan) (knows string, back []alembic.Migration, err error) {
	all, err := t.Releases.All(ctx)
	if err != nil {
		return "", nil, err
	}
	ids := []string{p.Live.ID}
	for _, r := range slices.Backward(all) {
		if r.Head == p.Head && r.ID != p.Live.ID && !slices.Contains([]release.State{release.Building, release.Fetched}, r.State) {
			ids = append(ids, r.ID)
		}
	}
	for _, id := range ids {
		back, err = t.alembic(id).Pending(ctx, p.To.Head, p.Head)
		if err == nil && len(back) > 0 {
			return id, back, nil
		}
		if err == nil {
			err = fmt.Errorf("revision %s is not behind %s", orNone(p.Head), orNone(p.To.Head))
		}
		if ctx.Err() != nil || !errors.Is(err, alembic.ErrUnknownRevision) {
			break
		}
	}
	return "", nil, err
}

// holdsData reports whether a table has rows, or a column values other than
// its default: what goes with it.
func holdsData(ctx context.Context, conn *pgx.Conn, d alembic.Drop) (bool, error) {
	name := pgx.Identifier(strings.Split(d.Table, ".")).Sanitize()
	var exists bool
	var def, generated, typ *string
	err := conn.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL, (SELECT pg_get_expr(f.adbin, f.adrelid) FROM pg_attrdef f
			JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum WHERE f.adrelid = to_regclass($1) AND a.attname = $2),
		(SELECT attgenerated::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped),
		(SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped)`, name, d.Column).
		Scan(&exists, &def, &generated, &typ)
	if err != nil || !exists {
		return false, err
	}
	where := ""
	if d.Column != "" {
		if generated == nil || *generated != "" {
			return false, nil // there is no such column, or it is computed from others
		}
		column := pgx.Identifier{d.Column}.Sanitize()
		where = " WHERE " + column + " IS NOT NULL"
		if def != nil && !strings.Contains(*def, "(") { // a function's value is not the same each time
			// As text: json and others have no equality.
			where = " WHERE " + column + "::text IS DISTINCT FROM CAST(" + *def + " AS " + *typ + ")::text"
		}
	}
	var holds bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+name+where+")").Scan(&holds)
	return holds, err
}

// sameServer reports whether a backup is of the server that is in use.
func (t *Target) sameServer(ctx context.Context, m *Manifest) (bool, error) {
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var present string
	err = conn.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()").Scan(&present)
	return present == m.Database.SystemIdentifier, err
}

// swapped reports whether the database that a swap keeps is there.
func (t *Target) swapped(ctx context.Context, names restoreNames) (bool, error) {
	kept, err := t.listKept(ctx)
	return slices.ContainsFunc(kept, func(k postgres.KeptDatabase) bool { return k.Name == names.Kept && !k.Side }), err
}
