// Package supervisor speaks to supervisord in its own protocol, XML-RPC over
// its unix socket, in two milliseconds where supervisorctl needs three
// hundred, and with an answer for each process.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Deadlines of calls whose context has none.
const (
	lookTimeout  = 10 * time.Second
	startTimeout = 2 * time.Minute
	stopTimeout  = 10 * time.Minute // above any stopwaitsecs that a draining worker is given
)

// ErrUnreachable says that nothing answers at the socket.
var ErrUnreachable = errors.New("supervisord is not reachable")

// A Client asks one supervisord. It may be used by several goroutines.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client of the supervisord that listens on socket of h. It
// connects with the first call.
func New(h host.Host, socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx, "unix", socket) }
	// No connection is kept: supervisord closes idle ones when it restarts,
	// and dialling a socket costs nothing.
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

func withDeadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for supervisord at %s: %w", c.socket, ctx.Err())
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.socket, err)
}

// A Daemon describes supervisord itself.
type Daemon struct {
	State          string // RUNNING, RESTARTING, SHUTDOWN or FATAL
	PID            int
	Identification string // identifier= of its configuration
	Version        string
}

// Daemon asks supervisord about itself.
func (c *Client) Daemon(ctx context.Context) (Daemon, error) {
	ctx, cancel := withDeadline(ctx, lookTimeout)
	defer cancel()
	var answers [4]any
	for i, method := range []string{"getState", "getPID", "getIdentification", "getSupervisorVersion"} {
		var err error
		if answers[i], err = c.call(ctx, 0, "supervisor."+method); err != nil {
			return Daemon{}, fmt.Errorf("asking supervisord about itself: %w", err)
		}
	}
	state, _ := answers[0].(map[string]any)
	return Daemon{State: text(state["statename"]), PID: integer(answers[1]), Identification: text(answers[2]), Version: text(answers[3])}, nil
}

// A ProcessInfo is one process as supervisord sees it.
type ProcessInfo struct {
	Group       string
	Name        string
	State       string // STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN
	PID         int    // 0 when it does not run
	Started     time.Time
	Uptime      time.Duration // since Started by supervisord's clock, whole seconds
	Description string        // such as "pid 7, uptime 0:00:12"
	SpawnError  string        // why it could not be started
	ExitStatus  int           // of its last end
}

// FullName is what supervisord calls the process: "group:name".
func (p ProcessInfo) FullName() string { return p.Group + ":" + p.Name }

// Running says whether the process runs, in supervisord's opinion. A worker
// may need seconds more before it takes work.
func (p ProcessInfo) Running() bool { return p.State == "RUNNING" }

// Processes lists all processes, sorted by group and name.
func (c *Client) Processes(ctx context.Context) ([]ProcessInfo, error) {
	answer, err := c.call(ctx, lookTimeout, "supervisor.getAllProcessInfo")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var all []ProcessInfo
	for _, m := range list(answer) {
		all = append(all, processInfo(m))
	}
	sort.Slice(all, func(i, j int) bool { return all[i].FullName() < all[j].FullName() })
	return all, nil
}

func processInfo(m map[string]any) ProcessInfo {
	p := ProcessInfo{
		Group: text(m["group"]), Name: text(m["name"]), State: text(m["statename"]), PID: integer(m["pid"]),
		Description: text(m["description"]), SpawnError: text(m["spawnerr"]), ExitStatus: integer(m["exitstatus"]),
	}
	if at := integer(m["start"]); at > 0 {
		p.Started = time.Unix(int64(at), 0)
		p.Uptime = time.Duration(integer(m["now"])-at) * time.Second
	}
	return p
}

// LogTail returns the last n bytes that a process ("group:name") wrote to its
// error output or, where that is empty or joined with it, to its output. Secrets are redacted.
func (c *Client) LogTail(ctx context.Context, process string, n int) (string, error) {
	for _, method := range []string{"supervisor.tailProcessStderrLog", "supervisor.tailProcessStdoutLog"} {
		tail, err := c.tail(ctx, method, process, n)
		if err != nil {
			return "", fmt.Errorf("reading the log of %s: %w", process, err)
		}
		if strings.TrimSpace(tail) != "" {
			return host.Redact(tail), nil
		}
	}
	return "", nil
}

func (c *Client) tail(ctx context.Context, method, process string, n int) (string, error) {
	var err error
	// supervisord fails (HTTP 500) on a tail that begins inside a character
	// of several bytes; one of four neighbouring lengths begins outside.
	for cut := range 4 {
		var answer any
		answer, err = c.call(ctx, lookTimeout, method, process, 0, n-cut)
		var fault *Fault
		if errors.As(err, &fault) {
			if fault.Code == codeNoFile {
				return "", nil
			}
			return "", err
		}
		if parts, ok := answer.([]any); err == nil && ok && len(parts) > 0 {
			return text(parts[0]), nil
		}
	}
	return "", err
}

// A ProgramConfig is one process as supervisord was configured to run it.
type ProgramConfig struct {
	Group       string
	Name        string
	InUse       bool // false: removed from the configuration since supervisord read it
	AutoStart   bool
	StartWait   time.Duration // startsecs
	StopWait    time.Duration // stopwaitsecs: from the stop signal to SIGKILL
	StopSignal  int
	StopAsGroup bool
	KillAsGroup bool
}

// ReadConfig lists the configuration of every process that supervisord has read.
func (c *Client) ReadConfig(ctx context.Context) ([]ProgramConfig, error) {
	answer, err := c.call(ctx, lookTimeout, "supervisor.getAllConfigInfo")
	if err != nil {
		return nil, fmt.Errorf("reading supervisord's configuration: %w", err)
	}
	var all []ProgramConfig
	for _, m := range list(answer) {
		all = append(all, ProgramConfig{
			Group: text(m["group"]), Name: text(m["name"]), InUse: boolean(m["inuse"]), AutoStart: boolean(m["autostart"]),
			StartWait:  time.Duration(integer(m["startsecs"])) * time.Second,
			StopWait:   time.Duration(integer(m["stopwaitsecs"])) * time.Second,
			StopSignal: integer(m["stopsignal"]), StopAsGroup: boolean(m["stopasgroup"]), KillAsGroup: boolean(m["killasgroup"]),
		})
	}
	return all, nil
}
