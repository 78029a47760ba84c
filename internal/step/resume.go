package step

import (
	"context"
	"fmt"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

// A Change is a step that was done from other inputs than there are now.
type Change struct {
	Step    string
	Was, Is string // digests
}

// Changed lists the steps of a list that are done and whose inputs have
// changed since: whoever goes on with the operation would build on what is no
// longer so.
func (o *Operation) Changed(ctx context.Context, list []Step) ([]Change, error) {
	log := o.journal.Log()
	var changes []Change
	for _, s := range Flat(list) {
		name := s.String()
		state, _ := log.Step(name)
		digester, ok := s.(Digester)
		if !ok || state.Type != journal.Done || state.Digest == "" {
			continue
		}
		known := log.Before(name)
		now, err := digester.Digest(ctx, &Run{Operation: o, step: name, shown: name, known: &known})
		if err != nil {
			return nil, fmt.Errorf("comparing the inputs of %s: %w", name, err)
		}
		if now != state.Digest {
			changes = append(changes, Change{Step: name, Was: state.Digest, Is: now})
		}
	}
	return changes, nil
}
