package checklist

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

// next is the one command to run, the most urgent first: its name, and behind
// a colon why.
func (s *Status) next() string {
	if mend := slices.Concat(s.Damaged, s.blocked); len(mend) > 0 {
		return fmt.Sprintf("mend this, then `status` again%s: %s", others(len(mend)-1), mend[0])
	}
	unseen := s.missing("releases", "database", "processes", "operations")
	if op := s.Operation; op != nil && op.unfinished() {
		text := op.next()
		if unseen && op.Outcome != running {
			text += "; before that, what could not be looked at has to answer"
		}
		return text
	}
	switch {
	case s.LeaseState == lease.Held && s.Lease != nil:
		return "nothing now: " + s.Lease.String()
	case unseen:
		return "pre:connections: what status could not look at is named above"
	case s.Live == nil:
		return "deploy: no release is live"
	case s.Database != s.Live.Head:
		return fmt.Sprintf("deploy: the database is at %s, the live release at %s", orNone(s.Database), orNone(s.Live.Head))
	}
	for _, p := range s.Processes {
		if p.State != "RUNNING" || p.Release != s.Live.ID {
			return fmt.Sprintf("services:start: %s is %s%s", p.Name, p.State, onOther(p.Release, s.Live.ID))
		}
	}
	return s.calm()
}

var targetForm = regexp.MustCompile(`^[a-z]+(:[a-z]+)?( -[a-z]+)?$`)

// commandIn is the command that a next begins with; empty when it is none.
func commandIn(next string) string {
	command, _, _ := strings.Cut(next, ": ")
	if !targetForm.MatchString(command) || command == "nothing" {
		return ""
	}
	return command
}

// calm is what to do when the service runs as it should.
func (s *Status) calm() string {
	text := "nothing"
	switch {
	case s.Pause != nil:
		text = "updates:resume: when its reason is gone: updates are paused " + host.Redact(s.Pause.String())
	case len(s.Unseen) > 0:
		return "pre:connections: all processes run the live release, but not everything could be looked at"
	case len(s.Disagreements) > 0:
		text += ": all processes run the live release; its records want mending (above)"
	default:
		text += ": all processes run the live release"
	}
	if n := len(s.Alerts); n > 0 {
		text += fmt.Sprintf("; %s: see above, and `contacts`", plural(n, "alert fires", "alerts fire"))
	}
	return text
}

// missing reports whether one of these could not be looked at.
func (s *Status) missing(what ...string) bool {
	return slices.ContainsFunc(s.Unseen, func(u string) bool {
		name, _, _ := strings.Cut(u, ":")
		return slices.Contains(what, name)
	})
}

// next is what an unfinished operation wants.
func (e *HistoryEntry) next() string {
	switch {
	case e.Outcome == parked && len(e.Left) > 0 && !e.Undoing:
		return fmt.Sprintf("%s: the next stage of %s%s; `resume` does all of them, `resume -undo` goes back to the release that was live", nextStage(e.Left), e.ID, listed(", left are ", e.Left))
	case e.Outcome == running:
		text := fmt.Sprintf("nothing now: wait until %s of %s has ended", e.ID, e.By)
		if len(e.OpenSteps) > 0 {
			text += ", it is at " + join(e.OpenSteps)
		}
		return text
	case e.Outcome == journal.Stuck:
		return fmt.Sprintf("resume -undo: tries the undo of %s again once what was in its way is mended (%s)%s; then `contacts`", e.ID, firstLine(e.Text), listed("; to take back: ", e.Left))
	case e.Achieved:
		return fmt.Sprintf("resume: only the papers of %s are missing%s", e.ID, listed(": ", e.Left))
	case e.Undoing:
		return fmt.Sprintf("resume: finishes taking back %s%s", e.ID, listed("; left are ", e.Left))
	case e.Onward:
		return fmt.Sprintf("resume: goes on with %s, which failed (%s); %s%s", e.ID, firstLine(e.Text), e.State, listed("; left are ", e.Left))
	case e.Touched && e.State != "":
		return fmt.Sprintf("resume: goes on with %s; %s%s; or `resume -undo`: leaves it as it is", e.ID, e.State, listed("; left are ", e.Left))
	case e.Touched:
		return fmt.Sprintf("resume: goes on with %s%s; or `resume -undo`: back to the release that was live", e.ID, listed("; left are ", e.Left))
	}
	return fmt.Sprintf("resume: goes on with %s, which has not touched the service%s; or `resume -undo`: tidies up, as the next deploy does", e.ID, listed("; left are ", e.Left))
}

// nextStage is the target that does the first of these steps.
func nextStage(left []string) string {
	for _, name := range left {
		if strings.HasPrefix(name, "verify:") {
			return "verify:criteria"
		}
		if isStage(name) {
			return name
		}
	}
	return left[0]
}

// listed names the first few of many steps.
func listed(before string, steps []string) string {
	const few = 5
	switch {
	case len(steps) == 0:
		return ""
	case len(steps) > few+1:
		return fmt.Sprintf("%s%s and %d more", before, join(steps[:few]), len(steps)-few)
	}
	return before + join(steps)
}

func others(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more above)", n)
}

func onOther(runs, live string) string {
	if runs == "" || runs == live {
		return ""
	}
	return " on release " + runs
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
