package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// gradualKind is the operation of a gradual rollback.
const gradualKind = "rollback:gradual"

// gradual is “Gradual Rollback”: the updates stand still, the API goes on. What
// fails is left as it is, with the updates paused: what was repaired is right
// and stays so, and `resume` goes on with the step that failed.
func (t *Target) gradual(o Options) Agenda {
	in := inputs{t}
	return Agenda{
		Steps: []step.Step{
			gradualChoose{in, o},
			fenceStep{in},

			// 1. Stop Updates
			pauseFirst{pauseStep{in, cmp.Or(o.Reason, "wrong rows are being repaired")}},
			waitStep{in, o.Force},

			// 2. Verify Data
			lookStep{in, verifyData},
			inconsistenciesStep{in},

			// What the plan forgot: the code that wrote them.
			codeStep{in, o.KeepRelease},

			// 3. Restore Data
			restoreDataStep{in, o},
			verifyRestorationStep{in},

			// What the plan forgot: the end of the pause.
			unpauseStep{in, false},
		},
		Record: []step.Step{gradualNotes{in}},
		Keep:   true,
		Onward: &onward{
			state:   "updates stay paused",
			ways:    "`rollback:gradual` begins anew, `updates:resume -force` gives the repair up",
			resumes: true,
			again:   []string{pauseStep{}.String(), waitStep{}.String()},
			told:    t.tellPause,
		},
	}
}

// tellPause lets the flag say why updates are still paused. That it could not
// is said; the journal has it too.
func (t *Target) tellPause(ctx context.Context, op *step.Operation, why string) {
	if err := t.explainPause(ctx, op.ID(), gradualKind+" failed: "+why); err != nil {
		t.Observer.Log("warning", "the pause flag does not say why updates are still paused: "+err.Error())
	}
}

// lookStep runs a check whose faults stop nothing: they are what the operation
// is about.
type lookStep struct {
	inputs
	c Check
}

func (s lookStep) String() string { return s.c.Name }

func (s lookStep) Run(ctx context.Context, r *step.Run) error {
	findings := s.c.Run(ctx, s.t, Subject{})
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if err := r.Note(ctx, "findings/"+s.c.Name, findings); err != nil {
		return err
	}
	err := Judge(findings)
	if err != nil {
		r.Log("%v", err)
	}
	r.Say("%s", summary(findings))
	return nil
}

// factWrong counts, by release, the rows that an operation has judged wrong:
// map[string]int64.
const factWrong = "wrong"

// whyStayPaused says why updates should not start again; empty when nothing
// speaks against it. op is the operation that wants to start them.
func (t *Target) whyStayPaused(ctx context.Context, op *step.Operation) (string, error) {
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return "", err
	}
	// A release is judged by what it is, whenever that was.
	logs, err := journal.Newest(ctx, t.Host, t.journalDir(), func(log journal.Log) bool {
		return live == nil || log.Began().Before(live.Built)
	})
	if err != nil {
		return "", err
	}
	return whyPaused(logs, op.ID(), live)
}

// whyPaused is whyStayPaused over the journals, newest first.
func whyPaused(logs []journal.Log, self string, live *release.Release) (string, error) {
	var why []string
	for _, log := range stillOpen(logs) {
		if id := log.Header().ID; log.Header().Kind == gradualKind && id != self {
			why = append(why, fmt.Sprintf("%s is not finished, %s: `resume` goes on with it", id, whereIs(log)))
		}
	}
	kept := false // with -keep-release a person has said that it was not the code
	for _, log := range logs {
		o, err := optionsOf(log)
		if err != nil || live == nil {
			return strings.Join(why, "; "), err
		}
		itself := log.Header().ID == self
		stays, wrong := "", map[string]int64{}
		if itself {
			_, err = log.Fact(factCodeStays, &stays)
		}
		_, wrongErr := log.Fact(factWrong, &wrong)
		if err := errors.Join(err, wrongErr); err != nil {
			return "", err
		}
		kept = kept || itself && o.KeepRelease
		if stays != "" {
			why = append(why, stays)
		}
		if n := wrong[live.ID]; n > 0 && !o.KeepRelease && !kept {
			text := fmt.Sprintf("release %s is live, which wrote %s, as %s has found", live.ID, plural(int(n), "wrong row", "wrong rows"), log.Header().ID)
			if !itself {
				text += ": `rollback:gradual` goes back to the one before"
			}
			return strings.Join(append(why, text), "; "), nil
		}
	}
	return strings.Join(why, "; "), nil
}

// whereIs says at which step an operation is, and why it went no further.
func whereIs(log journal.Log) string {
	steps := log.Steps()
	if len(steps) == 0 {
		return "before its first step"
	}
	last := steps[len(steps)-1]
	for _, s := range steps { // one that is done again comes first in the list
		if s.Type == journal.Failed || s.Type == journal.Start {
			last = s
		}
	}
	text := fmt.Sprintf("at %s (%s)", last.Name, last.Type)
	if last.Text != "" && last.Type == journal.Failed {
		text += ": " + firstLine(last.Text)
	}
	return text
}
