package rowdiff

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// verdictsSQL says of each row of one table that was dealt with what is there
// now: $1 is the table, $2 the transactions of the batches.
func verdictsSQL(t target) string {
	there := "t." + quote(t.key[0].name) + " IS NOT NULL"
	return "SELECT w.done, w.key::text, " + there + ", coalesce(t.xmin::text::bigint = ANY ($2), false), CASE w.done WHEN 'restored' THEN " +
		document("t.", t.shared) + " = " + t.was(restored) + " WHEN 'brought back' THEN " + document("t.", t.shared) + " = " + t.was("w.backup") +
		" ELSE EXISTS (SELECT FROM etf_ops.quarantine q WHERE q.tbl = w.tbl AND q.key = w.key AND " +
		"(SELECT jsonb_object_agg(c, q.row->c) FROM jsonb_object_keys(" + t.was("w.live") + ") c) = " + t.was("w.live") + ") END FROM " +
		t.workFrom() + " LEFT JOIN " + t.ident() + " t ON " + t.workKey() + " WHERE w.tbl = $1 AND w.done IN ('restored', 'quarantined', 'brought back') ORDER BY w.n"
}

// chosen looks at the rows that were dealt with.
func (v *verifier) chosen(ctx context.Context, t target) error {
	if t.gone != "" || len(t.key) == 0 {
		return nil
	}
	rows, err := v.tx.Query(ctx, verdictsSQL(t), t.name, v.ours)
	if err != nil {
		return err
	}
	var done, key string
	var there, ours bool
	var right *bool
	_, err = pgx.ForEachRow(rows, []any{&done, &key, &there, &ours, &right}, func() error {
		v.verdict(t, done, key, there, ours, right != nil && *right)
		return nil
	})
	return err
}

func (v *verifier) verdict(t target, done, key string, there, ours, right bool) {
	switch {
	case done == DoneQuarantined && !right:
		v.differ("%s %s is not in etf_ops.quarantine as it was", t.name, key)
	case done == DoneQuarantined && there && ours:
		v.differ("%s %s is in quarantine and still in its table", t.name, key)
	case done == DoneQuarantined:
		v.Quarantined++
		if there {
			v.Rewritten++
		}
	case there && right && done == DoneRestored:
		v.Restored++
	case there && right:
		v.BroughtBack++
	case there && ours && done == DoneRestored:
		v.differ("%s %s was restored and is not what it should be", t.name, key)
	case there && ours:
		v.differ("%s %s was brought back and is not what it should be", t.name, key)
	default:
		v.Rewritten++
	}
}

// writtenSQL counts a table's rows in one scan, and those written since the
// comparison by transaction; of ours ($1) it says where they are.
func (v *verifier) writtenSQL(t target) string {
	since := since{age: v.age}
	return "WITH scan AS MATERIALIZED (SELECT count(*) AS n, array_agg(t.ctid) FILTER (WHERE " + since.written("t.") + ") AS at FROM " + t.ident() + ` t)
		SELECT (SELECT n FROM scan), x.xid, x.rows, x.at FROM (VALUES (1)) one LEFT JOIN (SELECT t.xmin::text::bigint AS xid, count(*) AS rows,
		CASE WHEN t.xmin::text::bigint = ANY ($1) THEN array_agg(t.ctid::text) END AS at FROM ` + t.ident() + ` t WHERE t.ctid = ANY ((SELECT at FROM scan)::tid[])
		GROUP BY t.xmin::text::bigint) x ON true`
}

// others looks at all rows of a table: none that was not chosen may bear one
// of our transactions, and their number must be accounted for.
func (v *verifier) others(ctx context.Context, t target) error {
	rows, err := v.tx.Query(ctx, v.writtenSQL(t), v.ours)
	if err != nil {
		return err
	}
	var n, others int64
	var xid, written *int64
	var at, ours []string
	_, err = pgx.ForEachRow(rows, []any{&n, &xid, &written, &at}, func() error {
		switch {
		case xid == nil:
		case at != nil:
			ours = append(ours, at...)
		case !v.seen(*xid):
			others += *written
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.Looked, v.Others = v.Looked+n, v.Others+others
	if len(ours) > 0 {
		if err := v.strangers(ctx, t, ours); err != nil {
			return err
		}
	}
	return v.account(ctx, t, n, others)
}

// strangers names rows that bear one of our transactions and were not chosen
// in it.
func (v *verifier) strangers(ctx context.Context, t target, at []string) error {
	key := "jsonb_build_object('ctid', t.ctid::text)" // of a table without a key
	if len(t.key) > 0 {
		key = document("t.", t.key)
	}
	rows, err := v.tx.Query(ctx, `SELECT o.key::text FROM (SELECT `+key+` AS key, t.xmin::text::bigint AS xid FROM `+t.ident()+` t WHERE t.ctid = ANY ($2::text[]::tid[])) o
		LEFT JOIN (SELECT w.key, (b.xid::text::numeric % 4294967296)::bigint AS xid FROM etf_ops.work_batches b CROSS JOIN LATERAL unnest(b.n) AS c (n) JOIN etf_ops.work_rows w ON w.n = c.n
		WHERE b.tbl = $1 AND b.done IN ('restored', 'brought back')) c ON c.key = o.key AND c.xid = o.xid WHERE c.key IS NULL ORDER BY o.key`, t.name, at)
	if err != nil {
		return err
	}
	var name string
	_, err = pgx.ForEachRow(rows, []any{&name}, func() error {
		v.differ("%s %s was not chosen and was written", t.name, name)
		return nil
	})
	return err
}

// account holds the number of rows against what it was and what was done.
func (v *verifier) account(ctx context.Context, t target, n, others int64) error {
	if t.rows < 0 {
		return nil // the table is newer than the comparison
	}
	var change int64
	err := v.tx.QueryRow(ctx, "SELECT count(*) FILTER (WHERE done = 'brought back') - count(*) FILTER (WHERE done = 'quarantined') FROM etf_ops.work_rows WHERE tbl = $1", t.name).Scan(&change)
	if err != nil {
		return err
	}
	more := n - t.rows - change
	switch {
	case more > others:
		v.differ("%s has %d rows, %d more than can be accounted for", t.name, n, more-others)
	case more < 0:
		v.Fewer -= more
	}
	return nil
}
