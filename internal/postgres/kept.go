package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A KeptDatabase is a database that the suite made and left beside the live
// one.
type KeptDatabase struct {
	Name      string    `json:"name"`
	Side      bool      `json:"side"`               // a side database that was never swapped in; otherwise one that was replaced
	Complete  bool      `json:"complete,omitempty"` // of a side database: it was restored and checked
	When      time.Time `json:"when,omitzero"`      // that it was replaced, was complete, or began to be restored; zero: not said
	Operation string    `json:"operation,omitempty"`
	Reason    string    `json:"reason"`
	Bytes     int64     `json:"bytes"`          // 0 where this role may not look
	InUse     bool      `json:"in_use"`         // a session is open in it
	Dump      string    `json:"dump,omitempty"` // the beginning of the sha256 of the dump that a side database was made of; empty: not completely, or it is not said
}

// Holds reports whether this is a side database that was completely restored
// from the dump. Whether rows were written to it since is not known here.
func (k KeptDatabase) Holds(i DumpInfo) bool {
	return k.Side && k.Dump != "" && strings.HasPrefix(i.SHA256, k.Dump)
}

// completeText is what a complete side database says of itself.
func completeText(i DumpInfo, operation string) string {
	return fmt.Sprintf("complete since %s, of %s (sha256 %s), by %s", time.Now().UTC().Format(time.RFC3339), i.File, i.SHA256[:min(16, len(i.SHA256))], operation)
}

const keptSQL = `SELECT d.datname, c.text, coalesce(CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END, 0),
	EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
	FROM pg_database d, LATERAL (SELECT shobj_description(d.oid, 'pg_database') AS text) c
	WHERE starts_with(c.text, $1) OR starts_with(c.text, $2) ORDER BY 1`

// Kept lists the databases of the server that a swap has replaced, and the side
// databases that were left over, or are being restored just now. conn may be
// to any database of the server.
func Kept(ctx context.Context, conn Querier) ([]KeptDatabase, error) {
	rows, _ := conn.Query(ctx, keptSQL, keptMark, sideMark)
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (KeptDatabase, error) {
		var k KeptDatabase
		var comment string
		err := row.Scan(&k.Name, &comment, &k.Bytes, &k.InUse)
		k.explain(comment)
		return k, err
	})
	return all, wrap("listing the kept databases", err)
}

var (
	keptForm     = regexp.MustCompile(`^replaced (\S+) by (\S+): `)
	completeForm = regexp.MustCompile(`^complete since (\S+), of \S+ \(sha256 ([0-9a-f]{16})\), by (\S*)$`)
	startedForm  = regexp.MustCompile(`^being restored since (\S+)$`)
)

// explain reads the comment. What is not as Swap and Restore write it is shown
// as it stands.
func (k *KeptDatabase) explain(comment string) {
	text, kept := strings.CutPrefix(comment, keptMark)
	if !kept {
		text = strings.TrimPrefix(comment, sideMark)
	}
	k.Side, k.Reason = !kept, text
	if m := keptForm.FindStringSubmatch(text); kept && m != nil {
		k.Operation, k.Reason = m[2], text[len(m[0]):]
		k.When, _ = time.Parse(time.RFC3339, m[1])
	} else if m := startedForm.FindStringSubmatch(text); !kept && m != nil {
		k.When, _ = time.Parse(time.RFC3339, m[1])
	} else if m := completeForm.FindStringSubmatch(text); !kept && m != nil {
		k.Complete, k.Dump, k.Operation = true, m[2], m[3]
		k.When, _ = time.Parse(time.RFC3339, m[1])
	}
}

// Why a database is not dropped.
var (
	ErrNotKept = errors.New("it is not a kept or a side database of the suite's")
	ErrInUse   = errors.New("sessions are open in it")
)

// DropKept drops a kept or a side database. The live one, one that does not
// bear the suite's comment (ErrNotKept), and one with a session in it
// (ErrInUse) stay. It is the caller's word that nobody needs it.
func DropKept(ctx context.Context, h host.Host, u URL, name, applicationName string) (err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	defer func() { err = wrap("dropping the database "+name, err) }()
	admin, err := maintenance(ctx, h, u, applicationName, u.Database, name)
	if err != nil {
		return err
	}
	defer closeConn(ctx, admin)
	all, err := Kept(ctx, admin)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(k KeptDatabase) bool { return k.Name == name && name != u.Database })
	switch {
	case i < 0:
		return ErrNotKept
	case all[i].InUse:
		return ErrInUse
	}
	_, err = admin.Exec(ctx, "DROP DATABASE "+quote(name)) // without FORCE: somebody may have come in since
	if hasCode(err, codeObjectInUse) {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return err
}
