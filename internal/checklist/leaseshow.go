package checklist

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

// LeaseStatus is the lease as lease:show prints it.
type LeaseStatus struct {
	State  lease.State   `json:"state"`
	Holder *lease.Holder `json:"holder,omitempty"` // also the last one of a free lease
}

// Lease looks at the lease.
func (t *Target) Lease(ctx context.Context) (LeaseStatus, error) {
	holder, err := lease.Show(ctx, t.Host, t.opsDir())
	if err != nil || holder == nil {
		return LeaseStatus{State: lease.Free}, err
	}
	return LeaseStatus{State: holder.State(ctx, t.Now()), Holder: holder}, nil
}

// WriteLease prints the lease.
func (t *Target) WriteLease(ctx context.Context, w io.Writer, asJSON bool) error {
	status, err := t.Lease(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(w, "lease", status)
	}
	text := string(status.State)
	if status.Holder != nil && status.Holder.Operation != "" {
		text += ": " + status.Holder.String()
	}
	_, err = fmt.Fprintln(w, text)
	return err
}

// ReleaseLease frees a lease that nobody keeps alive. What its operation has
// begun stays as it is: the next operation finds it in the journal.
func (t *Target) ReleaseLease(ctx context.Context, w io.Writer) error {
	broken, err := lease.Break(ctx, t.Host, t.opsDir(), lease.Request{Purpose: "lease:release", By: Whoami(), Run: runURL(), Now: t.Now})
	if err != nil {
		return err
	}
	if broken == nil {
		_, err = fmt.Fprintln(w, "the lease is free already")
		return err
	}
	open, err := t.unfinished(ctx)
	text := "the lease is free"
	if len(open) > 0 {
		if agenda, err := t.agendaOf(open[0]); err == nil {
			text += "; " + describeUnfinished(open[0], agenda)
		}
	}
	_, writeErr := fmt.Fprintln(w, text)
	return errors.Join(err, writeErr)
}
