package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// copySettings gives the side database what belongs to the live one as a
// database and is not in a dump: settings (also those of single roles in it),
// connection limit and grants. A statement that the role may not run is
// an error that holds it, so that a superuser can run it; the next try then
// finds nothing to do.
func (s swapper) copySettings(ctx context.Context) error {
	statements, err := s.settingStatements(ctx)
	if err != nil {
		return wrap("comparing the settings of the databases", err)
	}
	grants, err := s.grantStatements(ctx)
	if err != nil {
		return wrap("comparing the grants on the databases", err)
	}
	for _, sql := range append(statements, grants...) {
		err := s.exec(ctx, sql)
		if hasCode(err, codePrivilege) {
			return fmt.Errorf("a superuser has to run, once, on the server: %s; %w", sql, err)
		}
		if err != nil {
			return wrap("copying a setting of the database", err)
		}
	}
	return nil
}

// settingStatements makes the side database's settings those of the live one.
func (s swapper) settingStatements(ctx context.Context) ([]string, error) {
	live, err := s.settings(ctx, s.live)
	if err != nil {
		return nil, err
	}
	side, err := s.settings(ctx, s.Side)
	if err != nil {
		return nil, err
	}
	var statements []string
	change := func(role, what string) {
		sql := "ALTER DATABASE " + quote(s.Side) + " " + what
		if role != "" {
			sql = "ALTER ROLE " + quote(role) + " IN DATABASE " + quote(s.Side) + " " + what
		}
		statements = append(statements, sql)
	}
	for _, set := range live {
		if !slices.Contains(side, set) {
			name, value, _ := strings.Cut(set.setting, "=")
			change(set.role, "SET "+settingName(name)+" = "+settingValue(name, value))
		}
	}
	for _, set := range side {
		name, _, _ := strings.Cut(set.setting, "=")
		if !slices.ContainsFunc(live, func(l dbSetting) bool { return l.role == set.role && strings.HasPrefix(l.setting, name+"=") }) {
			change(set.role, "RESET "+settingName(name))
		}
	}
	var liveLimit, sideLimit int
	err = s.conn.QueryRow(ctx, "SELECT l.datconnlimit, s.datconnlimit FROM pg_database l, pg_database s WHERE l.datname = $1 AND s.datname = $2", s.live, s.Side).
		Scan(&liveLimit, &sideLimit)
	if err == nil && liveLimit != sideLimit {
		statements = append(statements, fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", quote(s.Side), liveLimit))
	}
	return statements, err
}

// A dbSetting is one "name=value" of a database, for all roles or for one.
type dbSetting struct{ role, setting string }

func (s swapper) settings(ctx context.Context, database string) ([]dbSetting, error) {
	rows, _ := s.conn.Query(ctx, `SELECT coalesce(r.rolname, ''), unnest(st.setconfig) FROM pg_db_role_setting st
		JOIN pg_database d ON d.oid = st.setdatabase LEFT JOIN pg_roles r ON r.oid = st.setrole WHERE d.datname = $1 ORDER BY 1, 2`, database)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (set dbSetting, err error) {
		return set, row.Scan(&set.role, &set.setting)
	})
}

// settingName quotes each part of a name such as myapp.tenant.
func settingName(name string) string { return pgx.Identifier(strings.Split(name, ".")).Sanitize() }

// settingValue quotes a value; those of lists are stored in their final form
// and would become one element if quoted whole.
func settingValue(name, value string) string {
	lists := []string{"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries", "datestyle"}
	if slices.Contains(lists, strings.ToLower(name)) && value != "" && value != `""` {
		return value
	}
	return literal(value)
}

// grantStatements makes the grants on the side database those on the live one.
// Both have the same owner, whose own rights need no grant.
func (s swapper) grantStatements(ctx context.Context) ([]string, error) {
	live, err := s.grants(ctx, s.live)
	if err != nil {
		return nil, err
	}
	side, err := s.grants(ctx, s.Side)
	if err != nil {
		return nil, err
	}
	var statements []string
	for _, g := range side {
		if !slices.Contains(live, g) {
			statements = append(statements, "REVOKE "+g.privilege+" ON DATABASE "+quote(s.Side)+" FROM "+g.grantee())
		}
	}
	for _, g := range live {
		if !slices.Contains(side, g) {
			sql := "GRANT " + g.privilege + " ON DATABASE " + quote(s.Side) + " TO " + g.grantee()
			if g.option {
				sql += " WITH GRANT OPTION"
			}
			statements = append(statements, sql)
		}
	}
	return statements, nil
}

type dbGrant struct {
	role      string // empty: PUBLIC
	privilege string
	option    bool
}

func (g dbGrant) grantee() string {
	if g.role == "" {
		return "PUBLIC"
	}
	return quote(g.role)
}

func (s swapper) grants(ctx context.Context, database string) ([]dbGrant, error) {
	rows, _ := s.conn.Query(ctx, `SELECT DISTINCT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
		FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a LEFT JOIN pg_roles r ON r.oid = a.grantee
		WHERE d.datname = $1 ORDER BY 1, 2`, database)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (g dbGrant, err error) {
		return g, row.Scan(&g.role, &g.privilege, &g.option)
	})
}
