//go:build mage

package main

import (
	"context"
	"errors"
	"os"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Drill sends a test alert through Alertmanager and sees each contact called, in the order of escalation, with the time that it took.
func (Alerts) Drill(ctx context.Context,
	silence *bool, // silence it when the first contact is called, and see nobody else called
	json *bool,
	yes *bool, // also where real contacts are called
) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		var asked func(context.Context, string) (string, error)
		if atTerminal() {
			asked = ask
		}
		if err := t.MayDrill(ctx, set(yes), asked); err != nil {
			return err
		}
		seen, err := t.Drill(ctx, set(silence))
		if seen == nil {
			return err
		}
		return errors.Join(err, seen.Write(os.Stdout, set(json)))
	})
}
