package rowdiff

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// reviewTable holds a reviewed file while rows are chosen.
const reviewTable = "pg_temp.rowdiff_review"

// reviewed are the columns of a reviewed file that say something.
var reviewed = []string{"n", "table", "key", "class", "backup", "live"}

// faultsSQL lists what is wrong with the lines: each has to be as WriteCSV
// wrote it, but for its class.
const faultsSQL = `SELECT r.line, CASE
	WHEN w.n IS NULL THEN format('no row %L was compared', r.n)
	WHEN r.times > 1 THEN format('row %s is there more than once', r.n)
	WHEN r.tbl <> w.tbl THEN format('row %s is of table %s, not %L', r.n, w.tbl, r.tbl)
	WHEN r.key <> w.key::text THEN format('the key of row %s is %s, not %s', r.n, w.key, r.key)
	WHEN r.backup <> ` + csvBackup + ` THEN format('the backup''s values of row %s are not as compared', r.n)
	WHEN r.live <> ` + csvLive + ` THEN format('the live values of row %s are not as compared', r.n)
	WHEN r.class NOT IN ('restore', 'quarantine', 'keep', 'missing') THEN format('class %L is none of restore, quarantine, keep, missing', r.class)
	ELSE format('a row that was %s cannot be of class %s', w.kind, r.class) END
	FROM (SELECT *, count(*) OVER (PARTITION BY n) AS times FROM ` + reviewTable + `) r LEFT JOIN etf_ops.work_rows w ON w.n::text = r.n
	WHERE w.n IS NULL OR r.times > 1 OR r.tbl <> w.tbl OR r.key <> w.key::text OR r.backup <> ` + csvBackup + ` OR r.live <> ` + csvLive + `
	OR (r.class, w.kind) NOT IN (('keep', 'added'), ('keep', 'changed'), ('keep', 'deleted'), ('restore', 'changed'), ('restore', 'deleted'), ('missing', 'deleted'), ('quarantine', 'added'))
	ORDER BY r.line`

// chooseReviewed loads the file and compares all of it before a row is chosen.
func (a *applier) chooseReviewed(ctx context.Context) (map[group][]int64, error) {
	err := execAll(ctx, a.conn, "CREATE TEMP TABLE rowdiff_review (line bigint, n text, tbl text, key text, class text, backup text, live text)")
	if err != nil {
		return nil, err
	}
	lines, err := readReview(a.Choice.CSV)
	if err != nil {
		return nil, wrap("reading the reviewed file", err)
	}
	if _, err := a.conn.CopyFrom(ctx, pgx.Identifier{"pg_temp", "rowdiff_review"}, []string{"line", "n", "tbl", "key", "class", "backup", "live"}, pgx.CopyFromFunc(lines)); err != nil {
		return nil, wrap("reading the reviewed file", err)
	}
	rows, err := a.conn.Query(ctx, faultsSQL)
	if err != nil {
		return nil, err
	}
	var faults []string
	var line, n int64
	var fault string
	_, err = pgx.ForEachRow(rows, []any{&line, &fault}, func() error {
		if n++; n <= maxSamples {
			faults = append(faults, fmt.Sprintf("line %d: %s", line, fault))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n > maxSamples {
		faults = append(faults, fmt.Sprintf("and %d more", n-maxSamples))
	}
	if n > 0 {
		return nil, fmt.Errorf("%w: the reviewed file is not of the present comparison, or more than its classes was changed: %s", ErrChoice, strings.Join(faults, "; "))
	}
	return a.chosen(ctx, a.conn, "FROM etf_ops.work_rows w JOIN "+reviewTable+" r ON r.n = w.n::text WHERE (r.class IN ('restore', 'quarantine') OR r.class = 'missing' AND $1)", a.Choice.BringBack)
}

// readReview gives the lines of the file, one at a time. What a spreadsheet
// puts before it or between its fields is put up with.
func readReview(from io.Reader) (func() ([]any, error), error) {
	in := bufio.NewReader(from)
	if mark, _ := in.Peek(3); string(mark) == "\uFEFF" {
		in.Discard(3)
	}
	reader := csv.NewReader(in)
	if head, _ := in.Peek(2); string(head) == "n;" {
		reader.Comma = ';'
	}
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	at := make([]int, len(reviewed))
	for i, name := range reviewed {
		if at[i] = slices.Index(header, name); at[i] < 0 {
			return nil, fmt.Errorf("its first line has no column %q", name)
		}
	}
	return func() ([]any, error) {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := reader.FieldPos(0)
		values := []any{int64(line)}
		for _, i := range at {
			values = append(values, fields[i])
		}
		return values, nil
	}, nil
}
