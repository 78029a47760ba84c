package etfdata

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Class says what is to become of a row that differs from the backup.
type Class string

// Classes of rows.
const (
	Restore    Class = "restore"    // wrong, and the backup has it
	Quarantine Class = "quarantine" // wrong, and the backup does not have it
	Keep       Class = "keep"       // right, or nothing speaks against it
	Missing    Class = "missing"    // only the backup has it
)

// Sure is how far a judgement can be relied upon.
type Sure string

// Degrees of certainty.
const (
	Certain Sure = "certain" // the values themselves prove it
	Likely  Sure = "likely"  // the evidence points one way
	Guess   Sure = "guess"   // a person should look
)

// A Writer is what wrote rows from some moment on, until the next one did.
type Writer struct {
	Release   string
	Operation string // that brought it
	From      time.Time
	FromXID   uint64 // first transaction id, 64 bits wide; 0: not known
}

// JudgeOptions are what rows are judged by. The zero value of a field means
// its default.
type JudgeOptions struct {
	Now        time.Time     // what counts as now; default the clock
	StuckAfter time.Duration // an update in processing for longer is stuck; default an hour
	Backup     time.Time     // when the backup's snapshot was taken; default: not known
	Correction float64       // fraction by which sources correct a past day's price; default 0.02
	Jump       float64       // fraction that a price moves by at most without a split; default 0.25
	Writers    []Writer      // in any order
}

// Judge fills class, columns, sure, why and writer of every row of
// etf_ops.work_rows, those judged before included. tx is a transaction of the
// database that they were compared in; nothing else is changed in it.
func Judge(ctx context.Context, tx pgx.Tx, o JudgeOptions) error {
	_, err := tx.Exec(ctx, `UPDATE etf_ops.work_rows SET columns = NULL, sure = 'certain', writer = 'unknown',
		class = CASE kind WHEN 'deleted' THEN 'missing' ELSE 'keep' END,
		why = CASE kind WHEN 'deleted' THEN 'deleted since the backup' ELSE 'no rule speaks against it' END`)
	if err != nil {
		return fmt.Errorf("judging the rows that differ from the backup: %w", err)
	}
	return nil
}
