package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

const (
	tailBytes    = 1200 // how much of a process' log an error carries
	pollInterval = 50 * time.Millisecond
)

// An UnknownError says that supervisord has no such group or process.
type UnknownError struct {
	Name  string
	Known []string // the groups that it has
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("supervisord knows no %q: it has %s", e.Name, strings.Join(e.Known, ", "))
}

// A ProcessError is one process that did not do as told.
type ProcessError struct {
	Process    string // "group:name"
	Action     string // "start" or "stop"
	Reason     string // supervisord's words
	State      string // afterwards
	SpawnError string // why the program could not be run, if that was it
	LogTail    string // the last that it wrote, redacted
}

func (e *ProcessError) Error() string {
	msg := fmt.Sprintf("%s of %s: %s", e.Action, e.Process, e.Reason)
	if e.State != "" {
		msg += " (now " + e.State + ")"
	}
	if e.SpawnError != "" {
		msg += ": " + e.SpawnError
	}
	if tail := strings.TrimSpace(e.LogTail); tail != "" {
		lines := strings.Split(tail, "\n")
		msg += "; its log ends: " + strings.Join(lines[max(0, len(lines)-5):], "\n")
	}
	return msg
}

// A GroupError says which processes of a group did not do as told.
type GroupError struct {
	Group  string
	Action string // "start" or "stop"
	Failed []*ProcessError
	Done   []string // processes that did
}

func (e *GroupError) Error() string {
	parts := make([]string, len(e.Failed))
	for i, f := range e.Failed {
		parts[i] = f.Error()
	}
	return fmt.Sprintf("%s of group %s: %d of %d processes failed: %s", e.Action, e.Group, len(e.Failed), len(e.Failed)+len(e.Done), strings.Join(parts, "; "))
}

// StopGroup stops all processes of a group; with wait it returns when they
// have ended, at the latest when supervisord has killed them after their
// stopwaitsecs. Stopped ones are fine, those that are stopping already are
// waited for. Errors: *UnknownError, *GroupError.
func (c *Client) StopGroup(ctx context.Context, group string, wait bool) error {
	return c.groupCall(ctx, stopTimeout, "stop", group, wait)
}

// StartGroup starts all processes of a group; with wait it returns when each
// has run for its startsecs or was given up after its startretries. Running
// ones are fine. Errors: *UnknownError, *GroupError.
func (c *Client) StartGroup(ctx context.Context, group string, wait bool) error {
	return c.groupCall(ctx, startTimeout, "start", group, wait)
}

// StopProcess stops one process ("group:name"). Errors: *UnknownError, *GroupError.
func (c *Client) StopProcess(ctx context.Context, process string, wait bool) error {
	return c.processCall(ctx, stopTimeout, "stop", process, wait)
}

// StartProcess starts one process ("group:name"). Errors: *UnknownError, *GroupError.
func (c *Client) StartProcess(ctx context.Context, process string, wait bool) error {
	return c.processCall(ctx, startTimeout, "start", process, wait)
}

func (c *Client) groupCall(ctx context.Context, limit time.Duration, action, group string, wait bool) error {
	ctx, cancel := withDeadline(ctx, limit)
	defer cancel()
	of := func(p ProcessInfo) bool { return p.Group == group }
	if err := c.beforeStart(ctx, action, group, of); err != nil {
		return err
	}
	answer, err := c.call(ctx, limit, "supervisor."+action+"ProcessGroup", group, false)
	if err != nil {
		return c.callError(ctx, action, group, err)
	}
	reasons := map[string]string{}
	for _, m := range list(answer) {
		if code := integer(m["status"]); code != codeSuccess && !settled(action, code) {
			reasons[text(m["group"])+":"+text(m["name"])] = text(m["description"])
		}
	}
	return c.outcome(ctx, action, group, of, reasons, wait)
}

func (c *Client) processCall(ctx context.Context, limit time.Duration, action, process string, wait bool) error {
	ctx, cancel := withDeadline(ctx, limit)
	defer cancel()
	of := func(p ProcessInfo) bool { return p.FullName() == process }
	if err := c.beforeStart(ctx, action, process, of); err != nil {
		return err
	}
	reasons := map[string]string{}
	if _, err := c.call(ctx, limit, "supervisor."+action+"Process", process, false); err != nil {
		var fault *Fault
		if !errors.As(err, &fault) || fault.Code == codeBadName {
			return c.callError(ctx, action, process, err)
		}
		if !settled(action, fault.Code) {
			reasons[process] = fault.Text
		}
	}
	return c.outcome(ctx, action, process, of, reasons, wait)
}

// beforeStart lets processes that are stopping end first: supervisord fails
// (HTTP 500) when it is told to start one of them.
func (c *Client) beforeStart(ctx context.Context, action, name string, of func(ProcessInfo) bool) error {
	if action != "start" {
		return nil
	}
	_, err := c.poll(ctx, name, of, func(p ProcessInfo) bool { return p.State != "STOPPING" })
	return err
}

// outcome looks at what became of the processes. supervisord's own waiting is
// not used: it takes a process that is stopping since an earlier call for
// stopped, and one that it is about to start again for failed.
func (c *Client) outcome(ctx context.Context, action, name string, of func(ProcessInfo) bool, reasons map[string]string, wait bool) error {
	want, through := "RUNNING", []string{"STARTING", "BACKOFF"}
	if action == "stop" {
		want, through = "", []string{"STOPPING"}
	}
	settled := func(p ProcessInfo) bool { return !wait || !slices.Contains(through, p.State) }
	processes, err := c.poll(ctx, action+" of "+name, of, settled)
	if err != nil {
		return err
	}
	e := &GroupError{Group: name, Action: action}
	for _, p := range processes {
		reason := reasons[p.FullName()]
		switch {
		case wait && want != "" && p.State != want && reason == "":
			reason = "it ended by itself"
		case wait && want != "" && p.State == want:
			reason = "" // a later attempt succeeded
		case wait && action == "stop" && slices.Contains([]string{"RUNNING", "STARTING", "BACKOFF"}, p.State) && reason == "":
			reason = "it runs again: something else has started it"
		}
		if reason == "" {
			e.Done = append(e.Done, p.FullName())
			continue
		}
		e.Failed = append(e.Failed, c.processError(ctx, action, p, reason))
	}
	if len(e.Failed) > 0 {
		return e
	}
	return nil
}

// poll returns the processes chosen by of when done holds for each; its error
// at the deadline names those for which it does not.
func (c *Client) poll(ctx context.Context, what string, of, done func(ProcessInfo) bool) ([]ProcessInfo, error) {
	for {
		all, err := c.Processes(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		all = slices.DeleteFunc(all, func(p ProcessInfo) bool { return !of(p) })
		var open []string
		for _, p := range all {
			if !done(p) {
				open = append(open, p.FullName()+" "+p.State)
			}
		}
		if len(open) == 0 {
			return all, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: still %s: %w", what, strings.Join(open, ", "), ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// settled says whether the fault is that nothing had to be done.
func settled(action string, code int) bool {
	return action == "start" && code == codeAlreadyStarted || action == "stop" && code == codeNotRunning
}

// callError explains why a whole call failed; nil stays nil.
func (c *Client) callError(ctx context.Context, action, name string, err error) error {
	var fault *Fault
	if !errors.As(err, &fault) || fault.Code != codeBadName {
		if err != nil {
			err = fmt.Errorf("%s of %s: %w", action, name, err)
		}
		return err
	}
	processes, listErr := c.Processes(ctx)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	known := []string{}
	for _, p := range processes {
		known = append(known, p.Group)
	}
	return &UnknownError{Name: name, Known: slices.Compact(known)}
}

// processError adds the end of the process' log; when that cannot be read the
// error says at least what is known.
func (c *Client) processError(ctx context.Context, action string, p ProcessInfo, reason string) *ProcessError {
	// The caller's time may be up just because of this failure.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	e := &ProcessError{Process: p.FullName(), Action: action, Reason: reason, State: p.State, SpawnError: host.Redact(p.SpawnError)}
	if tail, err := c.LogTail(ctx, p.FullName(), tailBytes); err == nil {
		e.LogTail = tail
	}
	return e
}
