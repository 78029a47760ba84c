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

// JudgeOptions are what rows are judged by. The zero value of a field means
// its default.
type JudgeOptions struct {
	Now        time.Time     // what counts as now; default the clock
	StuckAfter time.Duration // an update in processing for longer is stuck; default an hour
	Backup     time.Time     // when the backup's snapshot was taken; default: long ago
	Correction float64       // fraction by which sources correct a past day's price; default 0.02
	Jump       float64       // fraction that a price moves by at most without a split; default 0.25
	Writers    []Writer      // in any order
}

// A judge works in temporary tables, each made by one step for the next ones;
// they end with the transaction.
type judge struct {
	tx      pgx.Tx
	o       JudgeOptions
	s       *schema         // columns that backup and database share
	tables  map[string]bool // public.etf_prices: has rows to judge
	prices  bool            // there is a table of prices
	writers writers
}

// Judge fills class, columns, sure, why and writer of every row of
// etf_ops.work_rows, those judged before included. tx is a transaction of the
// database that they were compared in; nothing else is changed in it.
//
// What the rules and the rows' own history prove comes first. A new price is
// judged by the nearest price that can be trusted, never by other new ones.
func Judge(ctx context.Context, tx pgx.Tx, o JudgeOptions) error {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.StuckAfter == 0 {
		o.StuckAfter = time.Hour
	}
	if o.Correction == 0 {
		o.Correction = 0.02
	}
	if o.Jump == 0 {
		o.Jump = 0.25
	}
	// A change of exactly the limit is within it, also in binary fractions.
	o.Correction, o.Jump = o.Correction+1e-9, o.Jump+1e-9
	o.Now, o.Backup = o.Now.UTC(), o.Backup.UTC()
	j := &judge{tx: tx, o: o, writers: newWriters(o.Writers)}
	if err := j.run(ctx); err != nil {
		return fmt.Errorf("judging the rows that differ from the backup: %w", err)
	}
	return nil
}

func (j *judge) run(ctx context.Context) error {
	settings := map[string]string{"search_path": "public", "jit": "off", "work_mem": "64MB"}
	if err := j.tx.QueryRow(ctx, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").Scan(&j.writers.next); err != nil {
		return err
	}
	if err := j.exchange(ctx, settings); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		j.begin,
		j.inspect,
		j.readWriters,
		j.readRates,
		j.judgeRates,
		j.readPrices,
		j.judgeByRules,
		j.judgeChanged,
		j.judgeNew,
		j.judgeETFs,
		j.judgeUpdates,
		j.judgeContributions,
		j.write,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return j.exchange(ctx, settings)
}

// exchange sets the transaction's settings to those values and gives the ones
// of before: statements over many rows are not worth compiling, and need room.
func (j *judge) exchange(ctx context.Context, settings map[string]string) error {
	for name, value := range settings {
		var before string
		if err := j.tx.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&before); err != nil {
			return err
		}
		if err := j.exec(ctx, "SELECT set_config($1, $2, true)", name, value); err != nil {
			return err
		}
		settings[name] = before
	}
	return nil
}

// begin makes the table of verdicts: of rows that are not kept, or of which
// more is to be said than that no rule speaks against them.
func (j *judge) begin(ctx context.Context) error {
	for _, table := range []string{"verdicts", "wrote", "updates", "rates", "live", "backup", "broken", "prices", "writes", "series", "points", "new"} {
		if err := j.exec(ctx, "DROP TABLE IF EXISTS pg_temp.judge_"+table); err != nil {
			return err
		}
	}
	return j.exec(ctx, `CREATE TEMP TABLE judge_verdicts (n bigint PRIMARY KEY, class text NOT NULL, sure text NOT NULL, why text NOT NULL, columns text[]) ON COMMIT DROP;
		CREATE TEMP TABLE judge_wrote (n bigint PRIMARY KEY, writer int NOT NULL) ON COMMIT DROP`)
}

// inspect reads which columns there are to judge by: of tables with rows to
// judge those that the rows have.
func (j *judge) inspect(ctx context.Context) error {
	all, err := inspect(ctx, j.tx)
	if err != nil {
		return err
	}
	rows, err := j.tx.Query(ctx, `SELECT w.tbl, ARRAY(SELECT jsonb_object_keys(coalesce(w.live, w.backup)))
		FROM (SELECT min(n) AS n FROM etf_ops.work_rows GROUP BY tbl) f JOIN etf_ops.work_rows w USING (n)`)
	if err != nil {
		return err
	}
	j.s, j.tables = &schema{columns: map[string]bool{}, indexes: all.indexes}, map[string]bool{}
	var table string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&table, &columns}, func() error {
		j.tables[table] = true
		for _, c := range columns {
			j.s.columns[unqualified(table)+"."+c] = true
		}
		return nil
	})
	for name := range all.columns {
		j.prices = j.prices || tableOf(name) == "etf_prices"
		if !j.tables["public."+tableOf(name)] {
			j.s.columns[name] = true
		}
	}
	return err
}

// write brings the verdicts to the rows.
func (j *judge) write(ctx context.Context) error {
	return j.exec(ctx, `UPDATE etf_ops.work_rows w SET columns = j.columns, sure = j.sure, class = j.class, why = j.why, writer = j.writer
		FROM (SELECT r.n, v.columns, coalesce(v.sure, 'certain') AS sure,
				coalesce(v.class, CASE r.kind WHEN 'deleted' THEN 'missing' ELSE 'keep' END) AS class,
				coalesce(v.why, CASE r.kind WHEN 'deleted' THEN 'deleted since the backup' ELSE 'no rule speaks against it' END) AS why,
				coalesce(($1::text[])[`+j.writers.byXID("r.xid")+`] || ': certain', ($1::text[])[t.writer] || ': likely', 'unknown') AS writer
			FROM etf_ops.work_rows r LEFT JOIN judge_verdicts v USING (n) LEFT JOIN judge_wrote t USING (n)) j
		WHERE j.n = w.n`, j.writers.labels)
}

// exec runs one statement, or several where there are no arguments.
func (j *judge) exec(ctx context.Context, sql string, args ...any) error {
	if len(args) == 0 {
		_, err := j.tx.Conn().PgConn().Exec(ctx, sql).ReadAll()
		return err
	}
	_, err := j.tx.Exec(ctx, sql, args...)
	return err
}
