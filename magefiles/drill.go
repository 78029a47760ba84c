//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Drill sends a test alert through Alertmanager and sees each contact called, in the order of escalation, with the time that it took.
func (Alerts) Drill(ctx context.Context,
	silence *bool, // silence it when the first contact is called, and see nobody else called
	json *bool,
	yes *bool, // also where real contacts are called
) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		if err := mayCall(ctx, t, yes); err != nil {
			return err
		}
		seen, err := t.Drill(ctx, set(silence))
		if seen == nil {
			return err
		}
		return errors.Join(err, seen.Write(os.Stdout, set(json)))
	})
}

// mayCall asks before real contacts are called, whatever `confirm` says.
func mayCall(ctx context.Context, t *checklist.Target, yes *bool) error {
	real, err := t.RealContacts()
	if err != nil || len(real) == 0 || set(yes) {
		return err
	}
	who := strings.Join(real, ", ")
	if !atTerminal() {
		return fmt.Errorf("%w: the drill really calls %s, and nobody is here to be asked: -yes calls them", checklist.ErrUsage, who)
	}
	answer, err := ask(ctx, fmt.Sprintf("The drill really calls %s. Go on? [y/N] ", who))
	if err == nil && !strings.HasPrefix(answer, "y") {
		err = errors.New("declined: nobody was called")
	}
	return err
}
