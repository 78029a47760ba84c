package checklist

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// factWriter is noted whenever services are started on a release, also by an
// undo: a writerFact. Each note counts, with its time.
const factWriter = "writer"

// A writerFact says what writes rows from here on.
type writerFact struct {
	Release string `json:"release"`
	XID     uint64 `json:"xid,omitempty"` // no transaction of its has a lower id; 0: not known
}

// noteWriter records which release is about to be started, and the transaction
// id from which on rows may be its. Where the database does not answer now, the
// rows are told apart by time alone.
func (t *Target) noteWriter(ctx context.Context, r *step.Run, id string) error {
	xid, err := t.nextXID(ctx, r.ApplicationName())
	if err != nil {
		r.Log("from which transaction on rows are written by %s is not known: %v", id, err)
	}
	return r.Note(ctx, factWriter, writerFact{id, xid})
}

// nextXID is the first transaction id that is not given yet, 64 bits wide.
func (t *Target) nextXID(ctx context.Context, name string) (xid uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Connect)
	defer cancel()
	conn, err := t.connect(ctx, name)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var text string
	if err := conn.QueryRow(ctx, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text").Scan(&text); err != nil {
		return 0, fmt.Errorf("asking for the next transaction id: %w", err)
	}
	_, err = fmt.Sscan(text, &xid)
	return xid, err
}

// writers lists which release wrote rows from when on, back to the one that
// did at this time: by the notes of the journals and, where those are silent,
// by the records of the releases.
func (t *Target) writers(ctx context.Context, since time.Time) ([]etfdata.Writer, error) {
	logs, err := journal.Newest(ctx, t.Host, t.journalDir(), func(log journal.Log) bool {
		return log.Began().Before(since) && len(writersIn(log)) > 0
	})
	if err != nil {
		return nil, err
	}
	var all []etfdata.Writer
	for _, log := range logs {
		all = append(all, writersIn(log)...)
	}
	releases, err := t.Releases.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range releases {
		noted := func(w etfdata.Writer) bool { return w.Release == r.ID && w.Operation == r.ActivatedBy }
		if r.Activated != nil && !slices.ContainsFunc(all, noted) {
			all = append(all, etfdata.Writer{Release: r.ID, Operation: r.ActivatedBy, From: *r.Activated})
		}
	}
	slices.SortStableFunc(all, func(a, b etfdata.Writer) int { return a.From.Compare(b.From) })
	return all, nil
}

// writersIn are those that a journal notes.
func writersIn(log journal.Log) []etfdata.Writer {
	var all []etfdata.Writer
	for _, rec := range log.Records {
		var f writerFact
		if rec.Type != journal.Note || rec.Key != factWriter {
			continue
		}
		one := journal.Log{Records: []journal.Record{rec}}
		if ok, err := one.Fact(factWriter, &f); ok && err == nil && f.Release != "" {
			all = append(all, etfdata.Writer{Release: f.Release, Operation: log.Header().ID, From: rec.Time, FromXID: f.XID})
		}
	}
	return all
}
