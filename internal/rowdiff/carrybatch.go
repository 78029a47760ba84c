package rowdiff

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// batch writes some rows, and finds those that the server will not have by
// halving. It returns what was left.
func (c *carrier) batch(ctx context.Context, g carryGroup, ns []int64) (left []int64, err error) {
	if why := c.targets[g.table].gone; why != "" {
		for _, n := range ns {
			c.notes[n] = why
		}
		return ns, nil
	}
	sub, err := c.tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	err = c.write(ctx, sub, g, ns)
	if err == nil {
		for _, n := range ns {
			delete(c.notes, n)
		}
		*map[string]*int64{Added: &c.Added, Changed: &c.Changed, Deleted: &c.Deleted}[g.kind] += int64(len(ns))
		return nil, sub.Commit(ctx)
	}
	if undo := sub.Rollback(ctx); undo != nil {
		return nil, errors.Join(err, undo)
	}
	var unfit *unfitError
	if !ofValues(err) && !errors.As(err, &unfit) {
		return nil, err
	}
	if len(ns) == 1 {
		c.notes[ns[0]] = message(err)
		return ns, nil
	}
	for _, half := range [][]int64{ns[:len(ns)/2], ns[len(ns)/2:]} {
		not, err := c.batch(ctx, g, half)
		if err != nil {
			return nil, err
		}
		left = append(left, not...)
	}
	return left, nil
}

// write makes sure, too, that no other row is touched.
func (c *carrier) write(ctx context.Context, tx pgx.Tx, g carryGroup, ns []int64) error {
	before, err := touched(ctx, tx)
	if err != nil {
		return err
	}
	t := c.targets[g.table]
	from := "pg_temp.rowdiff_carry w CROSS JOIN LATERAL " + record("w.key", "k", t.key)
	where := " WHERE w.n = ANY ($1) AND " + t.workKey()
	n := int64(len(ns))
	switch g.kind {
	case Deleted:
		_, err = tx.Exec(ctx, "DELETE FROM "+t.ident()+" AS t USING "+from+where, ns)
		n = -1 // by an earlier call, perhaps
	case Changed:
		var set []string
		if err := json.Unmarshal([]byte(g.set), &set); err != nil {
			return err
		}
		n, err = carryUpdate(ctx, tx, t, t.only(set), from+" CROSS JOIN LATERAL "+record("w.live", "b", t.shared)+where, ns)
	case Added:
		n, err = c.insert(ctx, tx, t, from, where, ns)
	}
	if err == nil && n >= 0 && n != int64(len(ns)) {
		err = &unfitError{"the restored database has no such row, or a trigger keeps it as it is"}
	}
	if err == nil {
		_, err = tx.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE")
	}
	if err != nil {
		return err
	}
	after, err := touched(ctx, tx)
	for name, n := range after {
		if sum := n[0] + n[1] + n[2] - before[name][0] - before[name][1] - before[name][2]; name != g.table && sum != 0 || sum > int64(len(ns)) {
			return &unfitError{fmt.Sprintf("to write it would change %d rows of %s too", sum, name)}
		}
	}
	return err
}

// carryUpdate sets columns of rows that are there.
func carryUpdate(ctx context.Context, tx pgx.Tx, t target, set []column, from string, ns []int64) (int64, error) {
	if len(set) == 0 {
		return int64(len(ns)), nil // nothing of it is in the backup's schema
	}
	tag, err := tx.Exec(ctx, "UPDATE "+t.ident()+" AS t SET "+each(set, ", ", func(c column) string { return quote(c.name) + " = " + value("b.", c) })+" FROM "+from, ns)
	return tag.RowsAffected(), err
}

// insert adds rows; those that are there, by an earlier call, are set to what
// the live database has now.
func (c *carrier) insert(ctx context.Context, tx pgx.Tx, t target, from, where string, ns []int64) (int64, error) {
	values := slices.DeleteFunc(slices.Clone(t.shared), func(c column) bool { return t.isKey(c.name) || c.always })
	from += " CROSS JOIN LATERAL " + record("w.live", "b", t.shared)
	var there int64
	var err error
	if len(values) > 0 {
		there, err = carryUpdate(ctx, tx, t, values, from+where, ns)
	} else {
		err = tx.QueryRow(ctx, "SELECT count(*) FROM "+from+" JOIN "+t.ident()+" t ON true"+where, ns).Scan(&there)
	}
	if err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, "INSERT INTO "+t.ident()+" ("+names("", t.shared)+") OVERRIDING SYSTEM VALUE SELECT "+each(t.shared, ", ", func(c column) string { return value("b.", c) })+
		" FROM "+from+" WHERE w.n = ANY ($1) AND NOT EXISTS (SELECT FROM "+t.ident()+" t WHERE "+t.workKey()+") ORDER BY w.n", ns)
	return there + tag.RowsAffected(), err
}

// sequences moves those of the side database to where the live one's are.
func (c *carrier) sequences(ctx context.Context) error {
	const sql = "SELECT sequencename::text, last_value, increment_by > 0 FROM pg_sequences WHERE schemaname = 'public'"
	type state struct {
		last *int64
		up   bool
	}
	read := func(q postgres.Querier) (map[string]state, error) {
		rows, err := q.Query(ctx, sql)
		if err != nil {
			return nil, err
		}
		all := map[string]state{}
		var name string
		var s state
		_, err = pgx.ForEachRow(rows, []any{&name, &s.last, &s.up}, func() error { all[name] = s; return nil })
		return all, err
	}
	live, err := read(c.live)
	if err != nil {
		return wrap("reading the sequences", err)
	}
	side, err := read(c.tx)
	if err != nil {
		return wrap("reading the side database's sequences", err)
	}
	for name, to := range live {
		at, ok := side[name]
		if !ok || to.last == nil || at.last != nil && (at.up && *at.last >= *to.last || !at.up && *at.last <= *to.last) {
			continue
		}
		if _, err := c.tx.Exec(ctx, "SELECT setval($1::text::regclass, $2)", pgx.Identifier{"public", name}.Sanitize(), *to.last); err != nil {
			return wrap("moving sequence "+name, err)
		}
		c.Sequences++
	}
	return nil
}

// note keeps with the compared rows why they were not carried over.
func (c *carrier) note(ctx context.Context) error {
	var ns []int64
	for n := range c.notes {
		ns = append(ns, n)
	}
	slices.Sort(ns)
	c.Left = int64(len(ns))
	notes := make([]string, len(ns))
	for i, n := range ns {
		notes[i] = "not carried over: " + c.notes[n]
	}
	return postgres.WithFence(ctx, c.live, c.Token, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE etf_ops.work_rows SET note = NULL WHERE note LIKE 'not carried over: %'")
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE etf_ops.work_rows w SET note = v.note FROM unnest($1::bigint[], $2::text[]) v (n, note) WHERE w.n = v.n", ns, notes)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, "SELECT format('%s %s: %s', tbl, key, substr(note, 19)) FROM etf_ops.work_rows WHERE note LIKE 'not carried over: %' ORDER BY n LIMIT $1", maxSamples)
		c.Samples, err = pgx.AppendRows(c.Samples[:0], rows, pgx.RowTo[string])
		return err
	})
}
