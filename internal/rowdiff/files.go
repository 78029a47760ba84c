package rowdiff

import (
	"context"
	"errors"
	"io"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// WriteCSV writes the compared rows for people to review: n, table, key, kind,
// class, sure, why, writer, changed, backup, live; the last two as JSON, of
// changed rows the columns that differ. What comes back reviewed is
// Choice.CSV.
func WriteCSV(ctx context.Context, q postgres.Querier, w io.Writer) error {
	return errors.New("not yet")
}

// WriteSQL writes the statements that Apply would run, one a row, to be read
// beforehand; those of class missing, which are brought back on request only,
// as comments.
func WriteSQL(ctx context.Context, q postgres.Querier, w io.Writer) error {
	return errors.New("not yet")
}

// Tally counts the compared rows by table, kind, class, sure and done.
func Tally(ctx context.Context, q postgres.Querier) ([]Tallied, error) {
	return nil, errors.New("not yet")
}
