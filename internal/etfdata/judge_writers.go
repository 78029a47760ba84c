package etfdata

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Writer is what wrote rows from some moment on, until the next one did.
type Writer struct {
	Release   string
	Operation string // that brought it
	From      time.Time
	FromXID   uint64 // first transaction id, 64 bits wide; 0: not known
}

// writers are numbered from 1 in the order of their times, as SQL counts.
type writers struct {
	labels []string
	from   []string // times, as literals
	xids   []string // of those that have one, ascending
	known  []string // the number of each of xids; NULL where another one without an id may follow it
	next   int64    // the transaction id that comes next
}

func newWriters(list []Writer) (w writers) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Writer) int { return a.From.Compare(b.From) })
	ordered := slices.IsSortedFunc(slices.DeleteFunc(slices.Clone(list), func(one Writer) bool { return one.FromXID == 0 }),
		func(a, b Writer) int { return cmp.Compare(a.FromXID, b.FromXID) })
	for i, one := range list {
		label := one.Release
		if one.Operation != "" {
			label += " (" + one.Operation + ")"
		}
		w.labels = append(w.labels, label)
		w.from = append(w.from, "TIMESTAMP '"+one.From.UTC().Format("2006-01-02 15:04:05.999999")+"'")
		// Ids that do not rise with the times are of different databases.
		if one.FromXID == 0 || !ordered {
			continue
		}
		number := strconv.Itoa(i + 1)
		if i+1 < len(list) && list[i+1].FromXID == 0 {
			number = "NULL"
		}
		w.xids, w.known = append(w.xids, strconv.FormatUint(one.FromXID, 10)), append(w.known, number)
	}
	return w
}

// byXID gives the number of the writer of a row by its xmin; NULL where that
// does not say. Rows that differ from the backup were written less than 2^31
// transactions ago, so that the upper half of the id follows from the present one.
func (w writers) byXID(xid string) string {
	if len(w.xids) == 0 {
		return "NULL::int"
	}
	return fmt.Sprintf("CASE WHEN %[1]s >= 3 THEN (ARRAY[%[2]s]::int[])[width_bucket(%[3]d - ((%[3]d - %[1]s) & 4294967295), ARRAY[%[4]s]::bigint[])] END",
		xid, strings.Join(w.known, ","), w.next, strings.Join(w.xids, ","))
}

// byTime gives the number of the one who wrote at a time, or NULL.
func (w writers) byTime(at string) string {
	if len(w.from) == 0 {
		return "NULL::int"
	}
	return fmt.Sprintf("nullif(width_bucket(%s, ARRAY[%s]), 0)", at, strings.Join(w.from, ","))
}

// readWriters makes judge_updates, those that may have written the rows, and
// notes by their times who wrote ETFs and updates.
func (j *judge) readWriters(ctx context.Context) error {
	from, where := "etf_updates", "completed_at IS NOT NULL"
	if err := j.s.lacks([]string{"etf_updates.etf_id", "etf_updates.start_date", "etf_updates.end_date", "etf_updates.completed_at", "etf_updates.status"}); err != nil {
		from, where = "(SELECT NULL::text AS etf_id, NULL::date AS start_date, NULL::date AS end_date, NULL::timestamp AS completed_at, '' AS status) u", "false"
	}
	if !j.o.Backup.IsZero() {
		where += " AND completed_at >= " + timestamp(j.o.Backup)
	}
	if err := j.exec(ctx, fmt.Sprintf(`CREATE TEMP TABLE judge_updates ON COMMIT DROP AS
		SELECT etf_id::text AS etf, start_date, end_date, completed_at, status LIKE 'completed%%' AS done, %s AS writer FROM %s WHERE %s;
		CREATE INDEX ON judge_updates (etf, completed_at);
		ANALYZE judge_updates`, j.writers.byTime("completed_at"), from, where)); err != nil {
		return err
	}
	if err := j.exec(ctx, `INSERT INTO judge_wrote SELECT w.n, u.writer FROM etf_ops.work_rows w
		CROSS JOIN LATERAL (SELECT writer FROM judge_updates u WHERE u.etf = w.live->>'id' ORDER BY completed_at DESC LIMIT 1) u
		WHERE w.tbl = 'public.etfs' AND u.writer IS NOT NULL`); err != nil {
		return err
	}
	return j.exec(ctx, fmt.Sprintf(`INSERT INTO judge_wrote SELECT n, writer FROM (
		SELECT n, %s AS writer FROM etf_ops.work_rows
		WHERE tbl IN ('public.etf_updates', 'public.exchange_rate_updates') AND live IS NOT NULL) w WHERE writer IS NOT NULL`,
		j.writers.byTime("coalesce(live->>'completed_at', live->>'created_at')::timestamp")))
}

func unqualified(table string) string { return strings.TrimPrefix(table, "public.") }

func tableOf(column string) string {
	table, _, _ := strings.Cut(column, ".")
	return table
}
