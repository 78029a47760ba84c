package celery

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

const (
	startUp   = 30 * time.Second // what the command may need beside the waiting for answers
	noReplies = 69               // its exit status when nobody answered
)

// byCommand runs the release's celery: with Redis the remote control travels
// through conventions of kombu's that change between its versions.
type byCommand struct {
	questions
	h       host.Host
	o       Options
	address string // of the broker, without password
	rdb     *redis.Client
}

func newCommand(h host.Host, o Options, u *url.URL) (*byCommand, error) {
	// kombu's own parameters, such as ssl_cert_reqs, mean nothing to us.
	plain := *u
	plain.RawQuery = ""
	opts, err := redis.ParseURL(plain.String())
	if err != nil {
		return nil, errors.New("reading the broker's URL: it is not of the form redis://:PASSWORD@HOST:PORT/DB")
	}
	if o.Python == "" || o.App == "" {
		return nil, errors.New("a redis broker is asked through the release's celery command: its python and app are needed")
	}
	logging.Disable() // errors are returned
	tlsConfig := opts.TLSConfig
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := h.Dial(ctx, network, addr)
		if err != nil || tlsConfig == nil {
			return conn, err
		}
		return tls.Client(conn, tlsConfig), nil
	}
	opts.MaxRetries, opts.DialerRetries, opts.PoolSize = 1, 1, 1
	opts.ContextTimeoutEnabled, opts.DisableIdentity = true, true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c := &byCommand{h: h, o: o, address: u.Scheme + "://" + u.Host + u.Path, rdb: redis.NewClient(opts)}
	c.questions = questions{c}
	return c, nil
}

// Close ends the connection to Redis.
func (c *byCommand) Close() error { return c.rdb.Close() }

// priorities are the suffixes of the lists in which kombu keeps the messages
// of one queue by priority.
var priorities = []string{"", "\x06\x163", "\x06\x166", "\x06\x169"}

// QueueDepth counts the lists of the queue. An empty list does not exist in
// Redis: the binding says whether there is such a queue.
func (c *byCommand) QueueDepth(ctx context.Context, queue string) (Queue, error) {
	ctx, cancel := deadline(ctx, []string{})
	defer cancel()
	doing := "looking at queue " + queue
	pipe := c.rdb.Pipeline()
	var lengths []*redis.IntCmd
	for _, p := range priorities {
		lengths = append(lengths, pipe.LLen(ctx, queue+p))
	}
	bound, unacked := pipe.Exists(ctx, "_kombu.binding."+queue), pipe.HLen(ctx, "unacked")
	if _, err := pipe.Exec(ctx); err != nil {
		return Queue{}, fmt.Errorf("%s: %w", doing, c.redisError(err))
	}
	q := Queue{Unacked: int(unacked.Val()), Consumers: -1}
	for _, n := range lengths {
		q.Messages += int(n.Val())
	}
	if q.Messages == 0 && bound.Val() == 0 {
		return Queue{}, fmt.Errorf("%s of %s: %w", doing, c.address, ErrNoQueue)
	}
	return q, nil
}

func (c *byCommand) redisError(err error) error {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, c.address, err)
	}
	if msg := answer.Error(); strings.HasPrefix(msg, "NOAUTH") || strings.HasPrefix(msg, "WRONGPASS") {
		return fmt.Errorf("%w: %s: %w (check user and password of its URL)", ErrLogin, c.address, err)
	}
	return fmt.Errorf("%s: %w", c.address, err)
}

func (c *byCommand) ask(ctx context.Context, method string, args map[string]string, nodes []string) (map[string]json.RawMessage, error) {
	wait := openTimeout
	if nodes != nil {
		wait = nodesTimeout
	}
	limit := wait + startUp
	if at, ok := ctx.Deadline(); ok {
		limit = time.Until(at)
		// The command needs a second or more to come to its question.
		wait = max(time.Second, min(wait, limit-5*time.Second))
	}
	// The command would go on trying a broker that is not there, and its
	// words for a refused login change: that is found out before.
	probe, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := c.rdb.Ping(probe).Err(); err != nil {
		return nil, c.redisError(err)
	}
	kind := "inspect"
	if strings.HasSuffix(method, "_consumer") {
		kind = "control"
	}
	argv := []string{c.o.Python, "-m", "celery", "-A", c.o.App, "--quiet", kind, "--json", fmt.Sprintf("--timeout=%.1f", wait.Seconds())}
	if nodes != nil {
		argv = append(argv, "--destination="+strings.Join(nodes, ","))
	}
	argv = append(argv, method)
	if queue := args["queue"]; queue != "" {
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
