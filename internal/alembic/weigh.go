package alembic

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// Weigh asks the database, changing nothing, which of the locks hold nobody up
// there and drops those: a type that the stored values fit, a default that is
// the same in every row, a column that cannot be null. To the others it adds
// how large their table is.
func Weigh(ctx context.Context, conn *pgx.Conn, locks []Lock) ([]Lock, error) {
	var heavy []Lock
	for _, l := range locks {
		harmless, err := l.harmless(ctx, conn)
		if err == nil && !harmless {
			l.Bytes, l.Rows, err = postgres.TableSize(ctx, conn, l.Table)
			heavy = append(heavy, l)
		}
		if err != nil {
			return nil, fmt.Errorf("weighing %q: %w", l.Statement, err)
		}
	}
	return heavy, nil
}

// harmless may also correct what kind of work it is, and find its table.
func (l *Lock) harmless(ctx context.Context, conn *pgx.Conn) (bool, error) {
	switch {
	case l.index != "":
		return l.ofIndex(ctx, conn)
	case l.added:
		return l.sameInAll(ctx, conn)
	case l.column != "" && l.to != "":
		return l.fits(ctx, conn)
	case l.column != "" && l.Kind == Scans:
		var filled bool
		// As the server concludes it: from a check that says this and nothing else, or also this.
		err := conn.QueryRow(ctx, `SELECT coalesce(bool_or(a.attnotnull OR EXISTS (SELECT FROM pg_constraint c, pg_get_expr(c.conbin, c.conrelid) e
				WHERE c.conrelid = a.attrelid AND c.contype = 'c' AND c.convalidated AND position(format('(%I IS NOT NULL)', a.attname) IN e) > 0 AND e !~ ' OR |CASE|NOT \(')), false)
			FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped`, postgres.TableName(l.Table), l.column).Scan(&filled)
		return filled, err
	}
	return false, nil
}

// ofIndex finds the table of an index; where it becomes the primary key, no
// row is looked at if none of its columns can be null.
func (l *Lock) ofIndex(ctx context.Context, conn *pgx.Conn) (harmless bool, err error) {
	err = conn.QueryRow(ctx, `SELECT coalesce(max(i.indrelid::regclass::text), ''), coalesce(bool_and(a.attnotnull), false) AND $2
		FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indexrelid = to_regclass($1)`,
		postgres.TableName(l.index), l.Kind == Scans).Scan(&l.Table, &harmless)
	return harmless, err
}

// sameInAll reports whether a new column needs no row to be written: its
// default is evaluated once, and its type has no constraints to hold it against.
func (l *Lock) sameInAll(ctx context.Context, conn *pgx.Conn) (bool, error) {
	if !l.plain {
		if len(l.functions) == 0 {
			return false, nil
		}
		names := slices.Compact(slices.Sorted(slices.Values(l.functions)))
		var volatile bool
		err := conn.QueryRow(ctx, `SELECT count(DISTINCT proname) < $2 OR bool_or(provolatile = 'v') FROM pg_proc WHERE proname = ANY ($1)`, names, len(names)).Scan(&volatile)
		if err != nil || volatile {
			return false, err
		}
	}
	typ, err := typeOf(ctx, conn, l.to)
	if err != nil || typ.oid == typ.base {
		return err == nil, err // also where there is none: it is made in the same SQL, as enumerations are
	}
	return typ.unconstrained(ctx, conn)
}

func (t columnType) unconstrained(ctx context.Context, conn *pgx.Conn) (free bool, err error) {
	err = conn.QueryRow(ctx, constrainedDomain, t.oid).Scan(&free)
	return free, err
}

const constrainedDomain = `WITH RECURSIVE d AS (SELECT oid, typbasetype, typnotnull FROM pg_type WHERE oid = $1 AND typtype = 'd'
		UNION ALL SELECT t.oid, t.typbasetype, t.typnotnull FROM pg_type t JOIN d ON t.oid = d.typbasetype AND t.typtype = 'd')
	SELECT NOT EXISTS (SELECT FROM d WHERE typnotnull OR EXISTS (SELECT FROM pg_constraint c WHERE c.contypid = d.oid))`

// A columnType is a type with its modifier, such as a length; -1 for none.
type columnType struct {
	oid  uint32
	base uint32 // of a domain, that which it is of; else the same
	mod  int32
}

// typeOf has the server read a type, and nothing run; oid 0: there is none.
func typeOf(ctx context.Context, conn *pgx.Conn, text string) (t columnType, err error) {
	if err = conn.QueryRow(ctx, "SELECT coalesce(to_regtype($1)::oid, 0)", text).Scan(&t.oid); err == nil && t.oid != 0 {
		var answer *pgconn.StatementDescription
		if answer, err = conn.Prepare(ctx, "", "SELECT NULL::"+text); err == nil {
			t.base, t.mod = answer.Fields[0].DataTypeOID, answer.Fields[0].TypeModifier
		}
	}
	if postgres.NotUnderstood(err) {
		return columnType{}, nil
	}
	return t, err
}

// fits reports whether the stored values are those of the new type already.
// What is left to do then may be an index or a check that has to be made anew.
func (l *Lock) fits(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var from, to columnType
	var err error
	if l.from != "" {
		from, err = typeOf(ctx, conn, l.from)
	} else {
		err = conn.QueryRow(ctx, "SELECT atttypid, atttypmod FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped",
			postgres.TableName(l.Table), l.column).Scan(&from.oid, &from.mod)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
	}
	if err == nil {
		to, err = typeOf(ctx, conn, l.to)
	}
	if err != nil || from.oid == 0 || to.oid == 0 {
		return false, err
	}
	if to.oid != to.base {
		if free, err := to.unconstrained(ctx, conn); err != nil || !free {
			return false, err
		}
		to.oid = to.base
	}
	var binary, utc, index, check bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_cast WHERE castsource = $1 AND casttarget = $2 AND castmethod = 'b' AND castcontext <> 'e'),
		current_setting('TimeZone') ~ '^(Etc/)?(UTC|GMT|UCT|Zulu|Universal)$'`, from.oid, to.oid).Scan(&binary, &utc)
	if err != nil || !sameBytes(from, to, binary, utc) {
		return false, err
	}
	err = conn.QueryRow(ctx, `WITH c AS (SELECT attrelid, attnum FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2)
		SELECT EXISTS (SELECT FROM c JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.attrelid AND d.refobjsubid = c.attnum AND d.classid = 'pg_class'::regclass
				JOIN pg_index i ON i.indexrelid = d.objid WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL),
			EXISTS (SELECT FROM c JOIN pg_constraint k ON k.conrelid = c.attrelid AND k.contype = 'c' AND c.attnum = ANY (k.conkey))`,
		postgres.TableName(l.Table), l.column).Scan(&index, &check)
	switch {
	case err != nil:
	case index:
		l.Kind, l.Why, l.Do = Indexes, "the values stay as they are, an index with a condition or an expression is built anew", "drop that index first, and make it again CONCURRENTLY"
	case check:
		l.Kind, l.Why, l.Do = Scans, "the values stay as they are, and are held against the column's check again", "drop the check first, add it again NOT VALID, and VALIDATE it"
	default:
		return l.Kind == Rewrites, nil
	}
	return false, nil
}

// sameBytes says when ALTER COLUMN TYPE writes no row: as PostgreSQL's
// ATColumnChangeRequiresRewrite and the types' own support functions have it.
func sameBytes(from, to columnType, binary, utc bool) bool {
	if from.oid != to.oid {
		instants := []uint32{pgtype.TimestampOID, pgtype.TimestamptzOID}
		return to.mod < 0 && (binary || utc && slices.Contains(instants, from.oid) && slices.Contains(instants, to.oid))
	}
	if from.mod == to.mod || to.mod < 0 {
		return true
	}
	switch to.oid {
	case pgtype.VarcharOID, pgtype.VarbitOID:
		return from.mod >= 0 && to.mod >= from.mod
	case pgtype.NumericOID: // the modifier is precision and scale, 16 bits each, plus 4
		precision, scale := func(m int32) int32 { return (m - 4) >> 16 }, func(m int32) int32 { return (m - 4) & 0x7ff }
		return from.mod >= 0 && scale(from.mod) == scale(to.mod) && precision(to.mod) >= precision(from.mod)
	case pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.TimeOID, pgtype.TimetzOID:
		const finest = 6 // digits of a second
		return to.mod == finest || from.mod >= 0 && to.mod >= from.mod
	}
	return false
}

// KeepsOut says in a few words what others cannot do meanwhile.
func (l Lock) KeepsOut() string {
	switch l.Mode {
	case AccessExclusive:
		return "nobody reads or writes"
	case RowExclusive:
		return "nobody changes the same rows"
	case "":
		return "not known whom it keeps out"
	}
	return "nobody writes"
}
