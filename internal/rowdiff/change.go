package rowdiff

import (
	"context"
	"strings"
)

// errUnlike: what is in the table now is not what was written.
var errUnlike = &unfitError{"the table does not keep what is written: it has a trigger or a rule, or the type of a column has changed"}

// restore sets columns back to the backup's values.
func (b *batch) restore(ctx context.Context) error {
	for id, ns := range b.columns {
		names := strings.Split(id, "\x00")
		columns := b.t.only(names)
		tag, err := b.tx.Exec(ctx, "UPDATE "+b.t.ident()+" AS t SET "+each(columns, ", ", func(c column) string { return quote(c.name) + " = " + value("b.", c) })+
			" FROM "+b.t.workFrom()+" CROSS JOIN LATERAL "+record("w.backup", "b", columns)+" WHERE w.n = ANY ($1) AND "+b.t.workKey(), ns)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != int64(len(ns)) {
			return errUnlike
		}
		// From now on it is known which columns were meant.
		if _, err := b.tx.Exec(ctx, "UPDATE etf_ops.work_rows SET columns = $2 WHERE n = ANY ($1)", ns, names); err != nil {
			return err
		}
	}
	return b.holds(ctx, b.t.was(restored))
}

// restored is the document that a restored row should be.
const restored = "(w.live || (SELECT jsonb_object_agg(c, w.backup->c) FROM unnest(w.columns) c))"

// holds makes sure that the rows are now as they should be.
func (b *batch) holds(ctx context.Context, want string) error {
	var n int
	err := b.tx.QueryRow(ctx, "SELECT count(*) FROM "+b.t.workFrom()+" JOIN "+b.t.ident()+" t ON "+b.t.workKey()+
		" WHERE w.n = ANY ($1) AND "+document("t.", b.t.shared)+" = "+want, b.ready).Scan(&n)
	if err == nil && n != len(b.ready) {
		err = errUnlike
	}
	return err
}

// quarantine moves whole rows away.
func (b *batch) quarantine(ctx context.Context) error {
	tag, err := b.tx.Exec(ctx, "INSERT INTO etf_ops.quarantine (operation, tbl, key, row, why) SELECT $2, w.tbl, w.key, "+document("t.", b.t.columns)+", w.why FROM "+
		b.t.workFrom()+" JOIN "+b.t.ident()+" t ON "+b.t.workKey()+" WHERE w.n = ANY ($1) ORDER BY w.n", b.ready, b.Operation)
	if err == nil && tag.RowsAffected() == int64(len(b.ready)) {
		tag, err = b.tx.Exec(ctx, "DELETE FROM "+b.t.ident()+" AS t USING "+b.t.workFrom()+" WHERE w.n = ANY ($1) AND "+b.t.workKey(), b.ready)
	}
	if err == nil && tag.RowsAffected() != int64(len(b.ready)) {
		err = errUnlike
	}
	return err
}

// bringBack inserts the backup's rows, with their own numbers.
func (b *batch) bringBack(ctx context.Context) error {
	_, err := b.tx.Exec(ctx, "INSERT INTO "+b.t.ident()+" ("+names("", b.t.shared)+") OVERRIDING SYSTEM VALUE SELECT "+
		each(b.t.shared, ", ", func(c column) string { return value("b.", c) })+
		" FROM etf_ops.work_rows w CROSS JOIN LATERAL "+record("w.backup", "b", b.t.shared)+" WHERE w.n = ANY ($1) ORDER BY w.n", b.ready)
	if err != nil {
		return err
	}
	return b.holds(ctx, b.t.was("w.backup"))
}
