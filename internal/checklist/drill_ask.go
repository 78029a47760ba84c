package checklist

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// MayDrill asks before a drill really calls anybody, whatever `confirm` says;
// with yes it does not. ask is nil where nobody is there to answer.
func (t *Target) MayDrill(ctx context.Context, yes bool, ask func(ctx context.Context, question string) (string, error)) error {
	if yes {
		return nil
	}
	real, err := t.RealContacts(ctx)
	if err != nil || len(real) == 0 {
		return err
	}
	who := strings.Join(real, ", ")
	if ask == nil {
		return fmt.Errorf("%w: the drill really calls %s, and nobody is here to be asked: -yes calls them", ErrUsage, who)
	}
	answer, err := ask(ctx, fmt.Sprintf("The drill really calls %s. Go on? [y/N] ", who))
	if err == nil && !strings.HasPrefix(answer, "y") {
		err = errors.New("declined: nobody was called")
	}
	return err
}

// RealContacts names whom a drill would really call: the contacts that are not
// this program's, and whom else Alertmanager, as it runs, sends such an alert
// to.
func (t *Target) RealContacts(ctx context.Context) ([]string, error) {
	am, e, contacts, err := t.drillable()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range contacts {
		if !c.own {
			names = append(names, c.Name+" ("+c.Way+")")
		}
	}
	ctx, cancel := context.WithTimeout(host.WithOperation(ctx, host.Operation{}), t.Config.Timeouts.Connect)
	defer cancel()
	loaded, err := am.Loaded(ctx)
	if err != nil {
		return nil, err
	}
	strangers, err := e.Strangers(loaded, monitoring.DrillLabels(t.Config.Environment, "drill"))
	if err != nil {
		return nil, err
	}
	for _, s := range strangers {
		names = append(names, "whomever Alertmanager's receiver "+s+" reaches")
	}
	return names, nil
}
