package etfdata

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// An OwnRule is a rule of a team, from its configuration. The rows of SQL, one
// SELECT, break it; their first column names them.
type OwnRule struct {
	Name     string
	Title    string
	Severity Severity
	SQL      string
}

func (own OwnRule) result(i int, o Options) Result {
	return Result{Rule: own.Name, Title: own.Title, Severity: own.Severity, Own: true, Looks: fmt.Sprintf("data.rules[%d].sql", i),
		SQL: own.statement(), Tolerated: int64(o.Tolerate[own.Name]), Off: o.off(own.Name)}
}

// statement is the SQL without what may end it.
func (own OwnRule) statement() string { return strings.TrimRight(own.SQL, "; \t\r\n") }

// An ownJob runs one of them.
type ownJob struct {
	result *Result
	own    OwnRule
	at     int
}

func (j *ownJob) filled() []*Result { return []*Result{j.result} }

// look reads the statement as a table: whatever is more than one SELECT the
// server does not take there, and its transaction does not write.
func (j *ownJob) look(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, fmt.Sprintf("SELECT etf_deploy_key::text, count(*) OVER () FROM (%s\n) AS broken (etf_deploy_key) LIMIT %d", j.own.statement(), maxSamples))
	if err == nil {
		var key *string
		_, err = pgx.ForEachRow(rows, []any{&key, &j.result.Violations}, func() error {
			text := "NULL"
			if key != nil {
				text = *key
			}
			j.result.Samples = append(j.result.Samples, text)
			return nil
		})
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == syntaxError {
		j.result.Err = fmt.Errorf("data.rules[%d].sql is not one SELECT that PostgreSQL takes: %w", j.at, err)
	}
	return err
}

const syntaxError = "42601"
