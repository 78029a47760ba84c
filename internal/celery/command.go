package celery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

const (
	startUp   = 30 * time.Second // what the command may need beside the waiting for answers
	noReplies = 69               // its exit status when nobody answered
)

// A command asks by the release's own celery, which knows how the application
// has configured its transport.
type command struct {
	h      host.Host
	o      Options
	places chan struct{} // each start costs a second of a core
}

func newCommand(h host.Host, o Options) command { return command{h, o, make(chan struct{}, 2)} }

func (c command) ask(ctx context.Context, q query) (map[string]json.RawMessage, error) {
	if c.o.Python == "" || c.o.App == "" {
		return nil, errors.New("no worker listens where celery's workers do by default, and without a release there is no celery command to ask by")
	}
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	wait := openTimeout
	if q.nodes != nil && !q.all {
		wait = nodesTimeout
	}
	limit := wait + startUp
	if at, ok := ctx.Deadline(); ok {
		limit = time.Until(at)
		// The command needs a second or more to come to its question.
		wait = max(time.Second, min(wait, limit-5*time.Second))
	}
	kind := "inspect"
	if strings.HasSuffix(q.method, "_consumer") {
		kind = "control"
	}
	argv := []string{c.o.Python, "-m", "celery", "-A", c.o.App, "--quiet", kind, "--json", fmt.Sprintf("--timeout=%.1f", wait.Seconds())}
	if q.nodes != nil && !q.all {
		argv = append(argv, "--destination="+strings.Join(q.nodes, ","))
	}
	argv = append(argv, q.method)
	if queue := q.args["queue"]; queue != "" {
		if strings.HasPrefix(queue, "-") {
			return nil, fmt.Errorf("queue %q begins with a dash", queue)
		}
		argv = append(argv, queue)
	}
	res, err := c.h.Run(ctx, host.Command{Argv: argv, Dir: c.o.Dir, Env: append(c.o.Env[:len(c.o.Env):len(c.o.Env)], "CELERY_BROKER_URL="+c.o.BrokerURL), Timeout: limit})
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Code == noReplies {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseReplies(res.Stdout)
}

// parseReplies finds the answers in what the command printed: an application
// may print at its start whatever it likes. inspect prints one object by
// node, control a list of such objects.
func parseReplies(out []byte) (map[string]json.RawMessage, error) {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		var object map[string]json.RawMessage
		if json.Unmarshal(lines[i], &object) == nil {
			return object, nil
		}
		var objects []map[string]json.RawMessage
		if json.Unmarshal(lines[i], &objects) == nil {
			object = map[string]json.RawMessage{}
			for _, o := range objects {
				for node, answer := range o {
					object[node] = answer
				}
			}
			return object, nil
		}
	}
	return nil, fmt.Errorf("the celery command printed no answer in JSON (an old version may not know --json)")
}
