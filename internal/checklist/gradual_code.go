package checklist

import (
	"context"
	"errors"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// codeStep brings the code back that wrote right rows.
type codeStep struct {
	inputs
	keep bool
}

func (codeStep) String() string { return "rollback:code" }

func (s codeStep) Run(ctx context.Context, r *step.Run) error {
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if s.keep {
		r.Say("left alone, as -keep-release asks")
		return nil
	}
	return errors.New("going back to the code of an earlier release is not built yet: -keep-release leaves it alone")
}
