package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// End ends the process of a holder that has lost its lease, where it can be
// reached: one that hangs, or was stopped, could go on at any time. One on
// another machine is kept from changing anything by its Guard.
func (h *Holder) End(ctx context.Context) error {
	if lives, known := h.lives(ctx); !lives || !known {
		return nil
	}
	if err := (host.Local{}).Terminate(ctx, h.Process, time.Second); err != nil {
		return fmt.Errorf("ending the holder of the expired lease: %w", err)
	}
	return nil
}
