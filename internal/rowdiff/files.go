package rowdiff

import (
	"context"
	"encoding/csv"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// csvHeader is the first line of WriteCSV.
var csvHeader = []string{"n", "table", "key", "kind", "class", "sure", "why", "writer", "changed", "backup", "live"}

// csvBackup and csvLive are what the two last columns show.
const (
	csvBackup = "coalesce((CASE w.kind WHEN 'changed' THEN (SELECT jsonb_object_agg(c, w.backup->c) FROM unnest(w.changed) c) ELSE w.backup END)::text, '')"
	csvLive   = "coalesce((CASE w.kind WHEN 'changed' THEN (SELECT jsonb_object_agg(c, w.live->c) FROM unnest(w.changed) c) ELSE w.live END)::text, '')"
)

// WriteCSV writes the compared rows for people to review: n, table, key, kind,
// class, sure, why, writer, changed, backup, live; the last two as JSON, of
// changed rows the columns that differ. What comes back reviewed is
// Choice.CSV.
func WriteCSV(ctx context.Context, q postgres.Querier, w io.Writer) error {
	if err := compared(ctx, q); err != nil {
		return err
	}
	out := csv.NewWriter(w)
	if err := out.Write(csvHeader); err != nil {
		return wrap("writing the rows that differ", err)
	}
	rows, err := q.Query(ctx, "SELECT w.n, w.tbl, w.key::text, w.kind, coalesce(w.class, ''), coalesce(w.sure, ''), coalesce(w.why, ''), coalesce(w.writer, ''), coalesce(array_to_string(w.changed, ' '), ''), "+
		csvBackup+", "+csvLive+" FROM etf_ops.work_rows w ORDER BY w.n")
	if err != nil {
		return wrap("reading the rows that differ", err)
	}
	var n int64
	line := make([]string, len(csvHeader))
	into := []any{&n}
	for i := range line[1:] {
		into = append(into, &line[i+1])
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		line[0] = strconv.FormatInt(n, 10)
		return out.Write(line)
	})
	if err == nil {
		out.Flush()
		err = out.Error()
	}
	return wrap("writing the rows that differ", err)
}

// Tally counts the compared rows by table, kind, class, sure and done.
func Tally(ctx context.Context, q postgres.Querier) ([]Tallied, error) {
	if err := compared(ctx, q); err != nil {
		return nil, err
	}
	rows, _ := q.Query(ctx, `SELECT tbl, kind, coalesce(class, ''), coalesce(sure, ''), coalesce(done, ''), count(*) FROM etf_ops.work_rows GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5`)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Tallied])
	return list, wrap("counting the rows that differ", err)
}
