package step

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// FaultVariable names the environment variable that sets off faults at named
// points, for tests of what a crash leaves behind: a comma-separated list of
// point=action, with the points <step>:before, <step>:during, <step>:after,
// <step>:undo and the actions kill (SIGKILL to this process), fail, hang (until
// the step's time is up) and term (SIGTERM to this process). <step>:deadline
// takes a duration and is that step's time.
const FaultVariable = "ETF_FAULTS"

// Fault is a named point at which a test may have the process die. Without the
// variable it does nothing.
func Fault(ctx context.Context, point string) error {
	switch action, set := faultAt(point); {
	case !set:
		return nil
	case action == "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it arrives before anything else happens
	case action == "term":
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		<-ctx.Done()
		return context.Cause(ctx)
	case action == "hang":
		<-ctx.Done()
		return context.Cause(ctx)
	case action == "fail":
		return fmt.Errorf("fault point %s: failing as %s asks", point, FaultVariable)
	default:
		return fmt.Errorf("fault point %s: unknown action %q in %s: use kill, term, hang or fail", point, action, FaultVariable)
	}
}

// faultAt is what the variable asks for at a point.
func faultAt(point string) (action string, set bool) {
	for item := range strings.SplitSeq(os.Getenv(FaultVariable), ",") {
		if name, action, _ := strings.Cut(item, "="); name == point && point != "" {
			return action, true
		}
	}
	return "", false
}

// Fault is the point <step>:<when> of this step.
func (r *Run) Fault(ctx context.Context, when string) error { return Fault(ctx, r.step+":"+when) }
