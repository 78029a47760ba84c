package rowdiff

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// VerifyOptions are those of VerifyApplied.
type VerifyOptions struct {
	Host            host.Host
	Live            postgres.URL
	ApplicationName string
	Progress        func(done, total int64, text string) // rows looked at; nil: not reported
}

// Verified says what VerifyApplied has proved.
type Verified struct {
	Restored    int64 `json:"restored"`     // rows that are as they should be
	Quarantined int64 `json:"quarantined"`  // rows that are in quarantine and gone from their table
	BroughtBack int64 `json:"brought_back"` // rows that equal the backup
	Left        int64 `json:"left"`         // rows that could not be dealt with
	Rewritten   int64 `json:"rewritten"`    // of the rows dealt with: written by others since
	Others      int64 `json:"others"`       // rows that others have written since the comparison
	Fewer       int64 `json:"fewer"`        // rows that others have deleted since, at least: each batch made sure that it deleted no other
	Looked      int64 `json:"looked"`       // rows of all tables, none other of which was touched
}

// VerifyApplied proves what Apply did: each restored row equals the backup in
// the restored columns and the compared live row in the others; each
// quarantined row is in etf_ops.quarantine and gone from its table; no other
// row bears one of Apply's transactions; the tables' rows add up. What others
// wrote meanwhile is counted apart. Any difference is a *MismatchError.
func VerifyApplied(ctx context.Context, o VerifyOptions) (*Verified, error) {
	conn, err := open(ctx, o.Host, o.Live, o.ApplicationName, oneMoment)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	v := &verifier{VerifyOptions: o}
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		v.tx = tx
		return v.run(ctx)
	})
	if err != nil {
		return nil, wrap("verifying the restored rows", err)
	}
	if v.wrong.Differences != nil {
		return &v.Verified, &v.wrong
	}
	return &v.Verified, nil
}

// A verifier sees the database at one moment.
type verifier struct {
	VerifyOptions
	Verified
	tx    pgx.Tx
	wrong MismatchError

	snapshot string  // of the comparison
	age      int64   // of its xmin
	ours     []int64 // transactions of the batches, as a row's xmin has them
}

func (v *verifier) differ(format string, args ...any) {
	if len(v.wrong.Differences) == maxSamples {
		v.wrong.More++
		return
	}
	v.wrong.Differences = append(v.wrong.Differences, fmt.Sprintf(format, args...))
}

func (v *verifier) run(ctx context.Context) error {
	was, err := targets(ctx, v.tx)
	if err != nil {
		return err
	}
	if err := v.batches(ctx); err != nil {
		return err
	}
	now, err := tables(ctx, v.tx)
	if err != nil {
		return err
	}
	var total int64
	for _, t := range was {
		total += t.rows
	}
	for _, own := range now {
		t, ok := was[own.name]
		if !ok {
			t = target{table: own, rows: -1}
		}
		if err := v.chosen(ctx, t); err != nil {
			return fmt.Errorf("table %s: %w", own.name, err)
		}
		if err := v.others(ctx, t); err != nil {
			return fmt.Errorf("table %s: %w", own.name, err)
		}
		report(v.Progress).say(v.Looked, max(total, v.Looked), "verified "+own.name)
	}
	return v.tx.QueryRow(ctx, "SELECT count(*) FROM etf_ops.work_rows WHERE done = 'left'").Scan(&v.Left)
}

// batches reads which transactions were Apply's, and since when others count.
func (v *verifier) batches(ctx context.Context) error {
	err := v.tx.QueryRow(ctx, "SELECT snapshot::text, age((pg_snapshot_xmin(snapshot)::text::numeric % 4294967296)::text::xid) FROM etf_ops.work_comparison").Scan(&v.snapshot, &v.age)
	if err != nil {
		return err
	}
	rows, _ := v.tx.Query(ctx, "SELECT (xid::text::numeric % 4294967296)::bigint FROM etf_ops.work_batches")
	v.ours, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	if v.ours == nil {
		v.ours = []int64{}
	}
	return err
}

// seen reports whether a transaction had ended when the rows were compared.
func (v *verifier) seen(xid int64) bool {
	xmin, rest, _ := strings.Cut(v.snapshot, ":")
	xmax, running, _ := strings.Cut(rest, ":")
	since := func(from string) int32 {
		n, _ := strconv.ParseUint(from, 10, 64)
		return int32(uint32(xid) - uint32(n))
	}
	if since(xmin) < 0 {
		return true
	}
	return since(xmax) < 0 && !slices.ContainsFunc(strings.Split(running, ","), func(r string) bool { return r != "" && since(r) == 0 })
}
