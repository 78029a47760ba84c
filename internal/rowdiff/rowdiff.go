// Package rowdiff finds the rows in which the live database differs from a
// backup, restores those that were chosen, proves that nothing else was
// touched, and carries rows over into a restored database.
//
// It knows no table by name: every ordinary table of schema public that has a
// primary key is compared on the columns that both sides have. Rows are
// compared in SQL, inside the live database; those of the backup come there
// from a restored side database or, filtered, from the dump.
package rowdiff

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// Kinds of rows that differ, as seen from the backup.
const (
	Added   = "added"   // only the live database has it
	Changed = "changed" // both have it, with different values
	Deleted = "deleted" // only the backup has it
)

// Classes that a row is judged to be of.
const (
	ClassRestore    = "restore"    // wrong, and in the backup: set back
	ClassQuarantine = "quarantine" // wrong, and not in the backup: moved away
	ClassKeep       = "keep"       // changed, and right
	ClassMissing    = "missing"    // deleted since: brought back on request
)

// What was done with a row.
const (
	DoneRestored    = "restored"
	DoneQuarantined = "quarantined"
	DoneBroughtBack = "brought back"
	DoneLeft        = "left" // chosen, but not possible: its note says why
)

// A Backup is what the live database is compared with.
type Backup struct {
	ID     string            // of the manifest
	Info   postgres.DumpInfo // what the manifest says about the dump
	Side   string            // database on the same server with the backup's rows as restored; empty: the dump is read
	File   string            // the dump, on the host
	BinDir string            // of pg_restore; empty: looked for
}

// Options are those of Compare and Count.
type Options struct {
	Host            host.Host
	Live            postgres.URL
	Backup          Backup
	ApplicationName string                               // of every session
	Token           int64                                // of the present operation, for what is written to etf_ops
	Operation       string                               // its id
	Tables          []string                             // "public.etf_prices"; empty: all
	Full            bool                                 // compare every row, whatever its xmin says
	Progress        func(done, total int64, text string) // rows of the backup that are dealt with; nil: not reported
}

// A TableDiff counts in what one table differs.
type TableDiff struct {
	Table      string   `json:"table"`       // schema.name
	Rows       int64    `json:"rows"`        // in the live database
	BackupRows int64    `json:"backup_rows"` // in the backup
	Candidates int64    `json:"candidates"`  // live rows that were compared
	Added      int64    `json:"added"`
	Changed    int64    `json:"changed"`
	Deleted    int64    `json:"deleted"`
	How        string   `json:"how"`                // "rows written since (xmin)" or "every row: <why>"
	LeftOut    []string `json:"left_out,omitempty"` // columns that only one of them has, or whose values cannot be compared
}

// A Diff counts in what the live database differs from a backup.
type Diff struct {
	Backup string        `json:"backup"`
	Tables []TableDiff   `json:"tables"`
	NoKey  []string      `json:"no_key,omitempty"` // tables without a key that both have, of which only the rows are counted
	Took   time.Duration `json:"took_ns"`
}

// Differ is the number of rows that differ.
func (d *Diff) Differ() (n int64) {
	for _, t := range d.Tables {
		n += t.Added + t.Changed + t.Deleted
	}
	return n
}

// A Tallied is the number of rows of one table that were judged and dealt with
// alike.
type Tallied struct {
	Table string `json:"table"`
	Kind  string `json:"kind"`
	Class string `json:"class"` // empty: not judged
	Sure  string `json:"sure"`
	Done  string `json:"done"` // empty: nothing yet
	Rows  int64  `json:"rows"`
}

// A MismatchError lists what VerifyApplied found to be other than Apply should
// have left it.
type MismatchError struct {
	Differences []string // one line each; the first maxSamples
	More        int64    // that are not listed
}

func (e *MismatchError) Error() string {
	more := ""
	if e.More > 0 {
		more = fmt.Sprintf("; and %d more", e.More)
	}
	return "verifying the restored rows: " + strings.Join(e.Differences, "; ") + more
}

// maxSamples is the number of rows that a result names.
const maxSamples = 20

// ErrChoice says that the rows which were chosen by hand cannot be meant:
// nothing was changed.
var ErrChoice = errors.New("the choice of rows")

// ErrNoComparison says that the live database holds no comparison.
var ErrNoComparison = errors.New("there is no comparison in the database: compare it with a backup first")
