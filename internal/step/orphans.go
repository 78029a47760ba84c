package step

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

// EndOrphans ends the processes that an earlier process of the suite started
// for this operation and left behind, so that nothing acts any more when it is
// looked at what they did. It returns how many there were.
func (o *Operation) EndOrphans(ctx context.Context, h host.Host, grace time.Duration) (int, error) {
	ended := map[host.Process]bool{}
	// Again until there are none: one may have started another meanwhile.
	for range maxRounds {
		orphans, err := o.orphans(ctx, h)
		if err != nil || len(orphans) == 0 {
			return len(ended), err
		}
		for _, p := range orphans {
			ended[p] = true
			if err := h.Terminate(ctx, p, grace); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return len(ended), fmt.Errorf("ending what %s left behind: %w", o.ID(), err)
			}
		}
	}
	return len(ended), fmt.Errorf("ending what %s left behind: something starts new processes of it again and again", o.ID())
}

// maxRounds is how often EndOrphans looks again.
const maxRounds = 10

// orphans finds the operation's processes by their environment, and by number
// those that have changed it or whose environment cannot be read.
func (o *Operation) orphans(ctx context.Context, h host.Host) ([]host.Process, error) {
	found, err := h.Processes(ctx, operationVariable+"="+o.ID())
	if err != nil {
		return nil, fmt.Errorf("looking for processes of %s: %w", o.ID(), err)
	}
	for _, r := range o.journal.Log().Records {
		if r.Type != journal.Child || r.Process == nil || slices.Contains(found, *r.Process) {
			continue
		}
		running, err := host.Running(ctx, h, *r.Process)
		if err != nil {
			return nil, err
		}
		if running {
			found = append(found, *r.Process)
		}
	}
	return found, nil
}
