package checklist

import (
	"context"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// fenceStep moves the fence in the database to this operation, before anything
// is touched: from here on no transaction of an earlier operation of the
// suite's can change data.
type fenceStep struct{ inputs }

func (fenceStep) String() string { return "lease:fence" }

func (s fenceStep) Describe(context.Context) ([]string, error) {
	return []string{"notes this operation in etf_ops.fence of the database"}, nil
}

func (s fenceStep) Run(ctx context.Context, r *step.Run) error {
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	r.Say("token %d", r.Token())
	return s.t.takeFence(ctx, r.Operation)
}
