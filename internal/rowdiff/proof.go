package rowdiff

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// An unfitError says that a change would not be what was chosen.
type unfitError struct{ why string }

func (e *unfitError) Error() string { return e.why }

// provable makes sure that the server counts what is written.
func provable(ctx context.Context, q postgres.Querier) error {
	var counted bool
	err := q.QueryRow(ctx, "SELECT current_setting('track_counts')::bool").Scan(&counted)
	if err == nil && !counted {
		err = errors.New("the server's setting track_counts is off, without which it cannot be proved that no other row is touched: set it on")
	}
	return err
}

// touched counts the rows that this transaction has written, by table. The
// server's counts may still hold those of the session's last transactions:
// only the difference says anything.
func touched(ctx context.Context, tx pgx.Tx) (map[string][3]int64, error) {
	rows, err := tx.Query(ctx, `SELECT schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables
		WHERE schemaname <> 'etf_ops' AND n_tup_ins + n_tup_upd + n_tup_del > 0`)
	if err != nil {
		return nil, err
	}
	counts := map[string][3]int64{}
	var name string
	var n [3]int64
	_, err = pgx.ForEachRow(rows, []any{&name, &n[0], &n[1], &n[2]}, func() error { counts[name] = n; return nil })
	return counts, err
}

// only makes sure, before the commit, that the chosen rows were written and no
// other: not by a trigger, not by a cascade.
func (b *batch) only(ctx context.Context, before map[string][3]int64) error {
	if _, err := b.tx.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil {
		return err
	}
	after, err := touched(ctx, b.tx)
	if err != nil {
		return err
	}
	want := [3]int64{}
	want[map[string]int{DoneBroughtBack: 0, DoneRestored: 1, DoneQuarantined: 2}[b.g.done]] = int64(len(b.ready))
	for name, n := range after {
		for i := range n {
			n[i] -= before[name][i]
		}
		switch {
		case name != b.g.table && n != [3]int64{}:
			return &unfitError{fmt.Sprintf("to change it would change %d rows of %s too", n[0]+n[1]+n[2], name)}
		case name == b.g.table && n != want:
			return &unfitError{"to change it would change other rows of the table too"}
		}
	}
	if _, ok := after[b.g.table]; !ok && len(b.ready) > 0 {
		return &unfitError{"the table does not take the change"}
	}
	return nil
}
