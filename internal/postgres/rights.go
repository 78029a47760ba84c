package postgres

import "context"

// A Rights is what the connected role lacks for what a rollback may have to do
// with the present database: restore it beside, end its sessions, swap the two.
type Rights struct {
	Role    string
	Missing []Lack // no restore without these
	Later   []Lack // a superuser has to help with these, once
}

// A Lack is one thing, in how many objects, and what gives it.
type Lack struct {
	What string
	Do   string
	Of   []string // objects concerned, if it is about some; at most five
}

// MissingRights looks exactly for what Restore and Swap do.
func MissingRights(ctx context.Context, conn Querier) (r Rights, err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	var super, creates, owns, signals, tablespace, elsewhere, locale bool
	var extensions, foreign, superuser, roles, settings []string
	err = conn.QueryRow(ctx, `SELECT current_user::text, r.rolsuper, r.rolcreatedb, pg_has_role(current_user, d.datdba, 'USAGE'), pg_has_role(current_user, 'pg_signal_backend', 'USAGE'),
		s.spcname = 'pg_default' OR has_tablespace_privilege(d.dattablespace, 'CREATE'),
		EXISTS (SELECT FROM pg_database WHERE datname IN ('postgres', 'template1') AND datname <> current_database() AND datallowconn AND has_database_privilege(oid, 'CONNECT')),
		coalesce(to_jsonb(d)->>'datlocprovider', 'c') <> 'b',
		ARRAY(SELECT extname::text FROM pg_extension e WHERE extname <> 'plpgsql' AND NOT EXISTS (SELECT FROM pg_available_extension_versions v
			WHERE v.name = extname AND v.version = extversion AND (v.trusted OR NOT v.superuser)) ORDER BY 1),
		ARRAY(SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_'
			AND n.nspname <> 'information_schema' AND NOT pg_has_role(current_user, c.relowner, 'MEMBER')
			AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e') ORDER BY 1 LIMIT 5),
		ARRAY(SELECT 'event trigger ' || evtname FROM pg_event_trigger UNION ALL SELECT 'function ' || p.oid::regproc FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
			WHERE NOT l.lanpltrusted AND p.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'e') LIMIT 5),
		ARRAY(SELECT DISTINCT o.rolname::text FROM pg_db_role_setting t JOIN pg_roles o ON o.oid = t.setrole WHERE t.setdatabase = d.oid AND o.oid <> r.oid AND NOT r.rolcreaterole ORDER BY 1),
		ARRAY(SELECT DISTINCT split_part(x, '=', 1) FROM pg_db_role_setting t, unnest(t.setconfig) x JOIN pg_settings g ON g.name = split_part(x, '=', 1)
			WHERE t.setdatabase = d.oid AND g.context IN ('superuser', 'superuser-backend') ORDER BY 1)
		FROM pg_roles r, pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace WHERE r.rolname = current_user AND d.datname = current_database()`).
		Scan(&r.Role, &super, &creates, &owns, &signals, &tablespace, &elsewhere, &locale, &extensions, &foreign, &superuser, &roles, &settings)
	if err != nil {
		return r, wrap("looking at the rights of the role", err)
	}
	role := quote(r.Role)
	lack := func(list *[]Lack, missing bool, what, do string, of ...string) {
		if missing {
			*list = append(*list, Lack{what, do, of})
		}
	}
	lack(&r.Missing, !locale, "the database has the builtin locale provider, which a restore cannot give the new one", "use libc or icu")
	if super {
		return r, nil
	}
	lack(&r.Missing, !creates, "it may not create databases", "ALTER ROLE "+role+" CREATEDB")
	lack(&r.Missing, !owns, "it does not own the database, and cannot rename it", "ALTER DATABASE … OWNER TO "+role)
	lack(&r.Missing, !signals, "it may not end the sessions of other roles", "GRANT pg_signal_backend TO "+role)
	lack(&r.Missing, !tablespace, "it may not make a database in the tablespace of this one", "GRANT CREATE ON TABLESPACE … TO "+role)
	lack(&r.Missing, !elsewhere, "it may connect neither to database postgres nor to template1, from where others are made and renamed", "GRANT CONNECT ON DATABASE postgres TO "+role)
	lack(&r.Missing, len(extensions) > 0, "it may not create extensions that the database has", "have a superuser mark them trusted, or drop those that are not needed", extensions...)
	lack(&r.Missing, len(foreign) > 0, "it may not restore what belongs to other roles", "make it the owner, or a member of the owning roles", foreign...)
	lack(&r.Missing, len(superuser) > 0, "only a superuser can restore these", "drop them, or restore as a superuser", superuser...)
	lack(&r.Later, len(roles) > 0, "settings of other roles in this database can be copied by a superuser only", "expect to be asked for it in a rollback that restores", roles...)
	lack(&r.Later, len(settings) > 0, "settings of this database can be copied by a superuser only", "expect to be asked for it in a rollback that restores", settings...)
	return r, nil
}

// Seats are the server's connections, as far as the present role can use them.
type Seats struct {
	Max  int64 // of the server, or what the limit of the role or the database leaves
	Free int64 // sessions of the suite itself count as free
	By   string
}

// FreeSeats counts the connections that are left, by the narrowest limit.
func FreeSeats(ctx context.Context, conn Querier) (s Seats, err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	err = conn.QueryRow(ctx, `WITH a AS (SELECT datid, usesysid FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL
			AND coalesce(backend_type, 'client backend') = 'client backend' AND application_name !~ '^etf-deploy'),
		l (by, most, used) AS (
			SELECT 'max_connections', current_setting('max_connections')::int - CASE WHEN r.rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int
				+ coalesce(current_setting('reserved_connections', true)::int, 0) END, (SELECT count(*) FROM a) FROM pg_roles r WHERE r.rolname = current_user
			UNION ALL SELECT 'the limit of the database', datconnlimit, (SELECT count(*) FROM a WHERE datid = d.oid) FROM pg_database d WHERE datname = current_database() AND datconnlimit >= 0
			UNION ALL SELECT 'the limit of the role', rolconnlimit, (SELECT count(*) FROM a WHERE usesysid = r.oid) FROM pg_roles r WHERE rolname = current_user AND rolconnlimit >= 0)
		SELECT by, most, greatest(most - used, 0) FROM l ORDER BY 3 LIMIT 1`).Scan(&s.By, &s.Max, &s.Free)
	return s, wrap("counting the connections", err)
}
