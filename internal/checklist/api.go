package checklist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// rollAPI replaces the API's processes one after the other. Supervisor holds
// the listening socket, so that a request always finds a process: the second
// is touched only after the API has answered as the new release.
func (t *Target) rollAPI(ctx context.Context, r *step.Run, id string) error {
	procs, err := t.processes(ctx, t.Config.Services.API)
	if err != nil {
		return err
	}
	for i, p := range procs {
		if p.Running() {
			if runs, err := t.releaseOf(ctx, p.PID); err == nil && runs == id {
				continue
			}
		}
		// Also one that is starting, over and over, on the release to leave.
		if err := t.supervisor().StopProcess(ctx, p.FullName(), true); err != nil {
			return err
		}
		if err := t.supervisor().StartProcess(ctx, p.FullName(), true); err != nil {
			return err
		}
		if err := t.awaitAPI(ctx, p.FullName(), id); err != nil {
			return err
		}
		r.Progress(int64(i+1), int64(len(procs)), "API processes restarted")
	}
	if err := t.settled(ctx, id); err != nil {
		return err
	}
	return t.noteAPIUp(ctx, r)
}

// settleTime is how long the last API process must have run: that the API
// answers proves the first one only, they share the socket.
const settleTime = 3 * time.Second

// settled waits until every API process has run for a while on release id, and
// has the API answer once more.
func (t *Target) settled(ctx context.Context, id string) error {
	first, err := t.processes(ctx, t.Config.Services.API)
	if err != nil {
		return err
	}
	for {
		if err := t.onRelease(ctx, t.Config.Services.API, id); err != nil {
			return err
		}
		procs, err := t.processes(ctx, t.Config.Services.API)
		if err != nil {
			return err
		}
		youngest := settleTime
		for i, p := range procs {
			if p.PID != first[i].PID {
				return t.notRunning(ctx, p)
			}
			youngest = min(youngest, p.Uptime)
		}
		if youngest >= settleTime {
			_, err := t.health(ctx)
			return err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// awaitAPI waits until the API answers as release id.
func (t *Target) awaitAPI(ctx context.Context, process, id string) error {
	var last error
	pid := 0
	for end := t.Now().Add(t.Config.Celery.Start); t.Now().Before(end); {
		procs, err := t.processes(ctx, t.Config.Services.API)
		if err != nil {
			return err
		}
		for _, p := range procs {
			if p.FullName() != process {
				continue
			}
			// Another number means that it died and was started again.
			if pid == 0 {
				pid = p.PID
			}
			if p.PID != pid || !p.Running() && p.State != "STARTING" {
				return t.notRunning(ctx, p)
			}
		}
		answer, err := t.health(ctx)
		switch {
		case err != nil:
			last = err
		case answer.Release == "" || answer.Release == id:
			return nil
		default:
			last = fmt.Errorf("release %s answers", answer.Release)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("after %s (celery.start) %s does not answer as release %s: %w", t.Config.Celery.Start, process, id, errors.Join(last, ErrNoAnswer))
}

// A healthAnswer is what the API says of itself.
type healthAnswer struct {
	Status  int
	Release string // empty where the service does not tell
}

// releaseIn finds in an answer of the API which release gave it: in a header
// or, on the health page, in a field of its JSON.
func (t *Target) releaseIn(res *http.Response, body string) string {
	if id := res.Header.Get(t.Config.API.ReleaseHeader); id != "" {
		return id
	}
	var fields map[string]any
	if json.Unmarshal([]byte(body), &fields) != nil {
		return ""
	}
	id, _ := fields[t.Config.API.ReleaseField].(string)
	return id
}

// health asks the API once, over a connection of its own, so that each of its
// processes may be the one to answer.
func (t *Target) health(ctx context.Context) (healthAnswer, error) {
	res, body, err := t.get(ctx, t.Config.API.URL+t.Config.API.Health)
	if err != nil {
		return healthAnswer{}, err
	}
	a := healthAnswer{Status: res.StatusCode, Release: t.releaseIn(res, body)}
	if res.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s answers %s: %s", t.Config.API.Health, res.Status, firstLine(body))
	}
	return a, nil
}

// maxPage is how much of an answer is read: enough for the metrics of many
// series and the rules of many teams.
const maxPage = 16 << 20

// get reads one page as seen from the host. One that is larger than maxPage is
// an error: half of it would say nothing.
func (t *Target) get(ctx context.Context, url string) (*http.Response, string, error) {
	return t.request(ctx, http.MethodGet, url)
}

// transport reaches servers as seen from the host.
func (t *Target) transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return t.Host.Dial(ctx, "tcp", address)
	}}
}

func (t *Target) request(ctx context.Context, method, url string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Connect+t.Config.Thresholds.Latency)
	defer cancel()
	return t.requestBy(ctx, &http.Client{}, method, url)
}

// requestBy is request by a client with rules of its own, until ctx ends.
func (t *Target) requestBy(ctx context.Context, client *http.Client, method, url string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, "", err
	}
	client.Transport = t.transport()
	res, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage+1))
	if err == nil && len(body) > maxPage {
		err = fmt.Errorf("%s answers more than %d bytes", url, maxPage)
	}
	return res, string(body), err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(host.Redact(s)), "\n") // before it is cut: half a secret is not known as one
	if r := []rune(line); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return line
}
