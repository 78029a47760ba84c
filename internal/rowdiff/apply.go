package rowdiff

import (
	"context"
	"errors"
	"io"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// A Choice says which of the compared rows are dealt with. The zero value: all
// of class restore and quarantine.
type Choice struct {
	// BringBack adds those of class missing.
	BringBack bool

	// Table and Where choose by hand, whatever the class: the rows of this
	// table (the live row; the backup's where that is deleted) for which the
	// SQL condition holds. Changed ones are restored whole, added ones
	// quarantined, deleted ones brought back.
	Table, Where string

	// CSV chooses the lines of a reviewed WriteCSV, by its class column:
	// restore (of a deleted row: bring it back), quarantine, keep; missing is
	// brought back only with BringBack. A line whose n, table, key, backup or
	// live is not as compared is an error, all of them at once, before
	// anything is changed.
	CSV io.Reader
}

// ApplyOptions are those of Apply.
type ApplyOptions struct {
	Host            host.Host
	Live            postgres.URL
	ApplicationName string
	Token           int64  // of the present operation
	Operation       string // its id
	Choice          Choice
	Batch           int                                  // rows in a transaction; 0: 1000
	Progress        func(done, total int64, text string) // rows; nil: not reported
	Between         func(ctx context.Context) error      // called in the first batch, its rows written and not committed
}

// Applied counts what has been done with the rows of the present comparison,
// by this call and earlier ones.
type Applied struct {
	Restored    int64    `json:"restored"`
	Quarantined int64    `json:"quarantined"`
	BroughtBack int64    `json:"brought_back"`
	Left        int64    `json:"left"`
	Samples     []string `json:"samples,omitempty"` // of the rows that were left, with the reason
}

// Apply restores, quarantines and brings back exactly the chosen rows, in one
// transaction under the fence for each batch: rows that go, children before
// parents; rows that come, parents before children. Each row is locked and held
// against what was compared: one that was changed meanwhile is left, and so is
// one that others refer to or whose parent is missing; the row's note says why.
// A row whose change would change rows of other tables (ON DELETE CASCADE, a
// trigger) is left too. Sequences are not touched.
//
// It may be called again after a kill: rows that are done are passed over,
// those that were left are tried again.
func Apply(ctx context.Context, o ApplyOptions) (*Applied, error) {
	return nil, errors.New("not yet")
}

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
	Looked      int64 `json:"looked"`       // rows of all tables, none other of which was touched
}

// VerifyApplied proves what Apply did: each restored row equals the backup in
// the restored columns and the compared live row in the others; each
// quarantined row is in etf_ops.quarantine and gone from its table; no other
// row bears one of Apply's transactions; the tables' rows add up. What others
// wrote meanwhile is counted apart. Any difference is a *MismatchError.
func VerifyApplied(ctx context.Context, o VerifyOptions) (*Verified, error) {
	return nil, errors.New("not yet")
}
