package checklist

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// pauseStep is “Pause new updates”.
type pauseStep struct {
	inputs
	reason string
}

func (pauseStep) String() string { return "updates:pause" }

func (s pauseStep) Describe(context.Context) ([]string, error) {
	return []string{"redis-cli SET " + s.t.Config.Cache.PauseKey + ", with who, since when and why"}, nil
}

// Run may be called again: a flag of this operation gets its first reason back.
func (s pauseStep) Run(ctx context.Context, r *step.Run) error {
	c, err := s.t.cache()
	if err != nil {
		return err
	}
	defer c.Close()
	key := s.t.Config.Cache.PauseKey
	p := cache.Pause{Since: s.t.Now(), By: Whoami(), Reason: host.Redact(oneLine(s.reason)), Operation: r.ID()}
	now, set, err := c.SetPause(ctx, key, p)
	if err := errors.Join(err, r.Fault(ctx, "during")); err != nil {
		return err
	}
	switch {
	case set:
		r.Say("paused: no update starts while %s is set", key)
		return nil
	case !s.mayTakeOver(now, r):
		r.Say("paused already %s: that stays", now)
		return nil
	case now.Operation != r.ID():
		r.Say("paused already %s: taken over", now)
	default:
		r.Say("paused already by this operation")
	}
	p.Since = now.Since
	was, taken, err := c.ChangePause(ctx, key, func(now cache.Pause) (*cache.Pause, bool) { return &p, s.mayTakeOver(now, r) })
	if err == nil && !taken && was == nil {
		err = fmt.Errorf("the pause flag %s was taken away just now: run it again", key)
	}
	return err
}

// mayTakeOver reports whether a flag that was found becomes that of this
// rollback, at whose end it goes: one of an earlier try, or of the same person,
// who saw what is wrong and paused first. Somebody else's has a reason of its
// own.
func (s pauseStep) mayTakeOver(p cache.Pause, r *step.Run) bool {
	if p.Operation == r.ID() {
		return true
	}
	if r.Journal().Log().Header().Kind != gradualKind || p.Since.IsZero() {
		return false
	}
	return p.By == Whoami() || strings.Contains(p.Operation, "-"+strings.ReplaceAll(gradualKind, ":", "-")+"-")
}

// pauseFirst is pauseStep where it is the first to touch the service.
type pauseFirst struct{ pauseStep }

func (pauseFirst) ChangesService() {}

// explainPause lets the flag of an operation say why updates are still paused.
func (t *Target) explainPause(ctx context.Context, operation, why string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Config.Timeouts.Connect+time.Second)
	defer cancel()
	c, err := t.cache()
	if err != nil {
		return err
	}
	defer c.Close()
	_, _, err = c.ChangePause(ctx, t.Config.Cache.PauseKey, func(now cache.Pause) (*cache.Pause, bool) {
		now.Reason = host.Redact(oneLine(why))
		return &now, now.Operation == operation
	})
	return err
}

// oneLine is a text as it fits into a flag.
func oneLine(text string) string { return firstLine(strings.Join(strings.Fields(text), " ")) }

// unpauseStep is what the plan forgot: updates may start again.
type unpauseStep struct {
	inputs
	force bool
}

func (unpauseStep) String() string { return "updates:resume" }

func (s unpauseStep) Describe(context.Context) ([]string, error) {
	return []string{"redis-cli DEL " + s.t.Config.Cache.PauseKey}, nil
}

func (s unpauseStep) Run(ctx context.Context, r *step.Run) error {
	alone := r.Journal().Log().Header().Kind != gradualKind
	why, err := s.t.whyStayPaused(ctx, r.Operation)
	if err != nil {
		return err
	}
	if why != "" && !s.force {
		return fmt.Errorf("%w: updates stay paused: %s; `updates:resume -force` starts them all the same", step.ErrFault, why)
	}
	if why != "" {
		r.Log("warning: resumed all the same, as -force asks: %s", why)
	}
	c, err := s.t.cache()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	was, cleared, err := c.ChangePause(ctx, s.t.Config.Cache.PauseKey, func(now cache.Pause) (*cache.Pause, bool) {
		return nil, alone || now.Operation == r.ID()
	})
	switch {
	case err != nil:
		return err
	case was == nil:
		r.Say("updates were not paused")
	case !cleared:
		r.Say("updates stay paused, not by this rollback: %s; `updates:resume` clears that", was)
		r.Log("%s", "updates stay paused, not by this rollback: "+was.String())
	default:
		r.Say("updates may start again; they had been paused %s", was)
	}
	return nil
}
