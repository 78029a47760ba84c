package checklist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// processes lists what supervisor holds of one group; an unknown group is an
// error that names the key of the configuration.
func (t *Target) processes(ctx context.Context, group string) ([]supervisor.ProcessInfo, error) {
	all, err := t.supervisor().Processes(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	var found []supervisor.ProcessInfo
	for _, p := range all {
		if p.Group == group {
			found = append(found, p)
		}
		if !slices.Contains(known, p.Group) {
			known = append(known, p.Group)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("supervisor at %s has no program %q: it has %s; see services in %s",
			t.Config.Services.Socket, group, strings.Join(known, ", "), t.Config.File)
	}
	return found, nil
}

var releaseInPath = regexp.MustCompile(`/releases/(\d{8}T\d{6}Z-[0-9a-f]{8})(?:/|$)`)

// releaseOf is the release in whose folder a process runs: what it really
// executes, whatever `current` says by now. Empty when it runs elsewhere.
func (t *Target) releaseOf(ctx context.Context, pid int) (string, error) {
	cwd, err := t.Host.Readlink(ctx, path.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return "", fmt.Errorf("looking which release process %d runs: %w", pid, err)
	}
	if m := releaseInPath.FindStringSubmatch(cwd); m != nil {
		return m[1], nil
	}
	return "", nil
}

// onRelease fails unless all processes of a group run and belong to release id.
func (t *Target) onRelease(ctx context.Context, group, id string) error {
	procs, err := t.processes(ctx, group)
	if err != nil {
		return err
	}
	for _, p := range procs {
		if !p.Running() {
			return t.notRunning(ctx, p)
		}
		runs, err := t.releaseOf(ctx, p.PID)
		if err != nil {
			return err
		}
		if runs != id {
			return fmt.Errorf("%s runs release %q, not %s", p.FullName(), runs, id)
		}
	}
	return nil
}

// notRunning says why a process does not run, with the end of its log.
func (t *Target) notRunning(ctx context.Context, p supervisor.ProcessInfo) error {
	why := p.SpawnError
	if why == "" {
		why = p.Description
	}
	tail, err := t.supervisor().LogTail(ctx, p.FullName(), 1500)
	if err != nil {
		tail = err.Error()
	}
	return fmt.Errorf("%s is %s (%s); the end of its log:\n%s", p.FullName(), p.State, why, strings.TrimSpace(tail))
}

// stopWorkers ends the updates without killing one: the scheduler first, then
// no new tasks for the workers, then the end of those that run, then the
// workers themselves.
func (t *Target) stopWorkers(ctx context.Context, r *step.Run) error {
	sv := t.supervisor()
	if err := sv.StopGroup(ctx, t.Config.Services.Beat, true); err != nil {
		return err
	}
	workers, err := t.processes(ctx, t.Config.Services.Worker)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(workers, supervisor.ProcessInfo.Running) {
		if err := t.drain(ctx, r, workers); err != nil {
			return err
		}
	}
	return sv.StopGroup(ctx, t.Config.Services.Worker, true)
}

// questionTime is what workers get to answer one question: they answer in
// milliseconds, or not at all.
const questionTime = 5 * time.Second

// drain has the workers take no more tasks and waits for those that run.
// Tasks that were fetched and not begun go back to the broker when the worker
// stops. A worker that does not answer cannot be asked: supervisor's SIGTERM
// lets it end its task, too, within its stopwaitsecs.
func (t *Target) drain(ctx context.Context, r *step.Run, workers []supervisor.ProcessInfo) error {
	id, err := t.releaseOf(ctx, firstRunning(workers))
	if err != nil {
		return err
	}
	control, err := t.celery(id)
	if err != nil {
		return err
	}
	defer control.Close()
	ask := func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, questionTime) }

	asking, cancel := ask()
	pongs, err := control.Ping(asking, t.Config.Celery.Nodes)
	cancel()
	nodes := slices.Sorted(maps.Keys(pongs))
	if len(nodes) < len(t.Config.Celery.Nodes) {
		r.Log("not all workers answer (%v): supervisor lets those end by themselves", err)
	}
	if len(nodes) == 0 {
		return nil
	}
	asking, cancel = ask()
	err = control.CancelConsumer(asking, t.Config.Celery.Queue, nodes)
	cancel()
	if err != nil {
		return fmt.Errorf("asking the workers to take no more tasks: %w", err)
	}
	began := t.Now()
	for {
		asking, cancel = ask()
		running, err := control.Active(asking, nodes)
		cancel()
		if err != nil && len(running) == 0 {
			return fmt.Errorf("asking the workers what they do: %w", err)
		}
		var names []string
		for node, tasks := range running {
			for _, task := range tasks {
				names = append(names, task.Name+" on "+node)
			}
		}
		if len(names) == 0 {
			return nil
		}
		slices.Sort(names)
		waited := t.Now().Sub(began)
		if waited > t.Config.Celery.Drain {
			return fmt.Errorf("after %s (celery.drain) these tasks still run: %s: none was killed; wait for them or raise celery.drain",
				t.Config.Celery.Drain, strings.Join(names, ", "))
		}
		r.Progress(int64(waited.Seconds()), int64(t.Config.Celery.Drain.Seconds()), fmt.Sprintf("%d tasks running: %s", len(names), names[0]))
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func firstRunning(procs []supervisor.ProcessInfo) int {
	for _, p := range procs {
		if p.Running() {
			return p.PID
		}
	}
	return 0
}

// startServices brings workers, scheduler and API up on release id, which
// `current` must name, and waits until they really serve: supervisor calls a
// worker RUNNING seconds before it takes work. The cache is cleared once more,
// since the API that has just gone may have filled it with what it knew.
func (t *Target) startServices(ctx context.Context, r *step.Run, id string) error {
	var wg sync.WaitGroup
	var apiErr, workerErr error
	wg.Go(func() { apiErr = t.rollAPI(ctx, r, id) })
	wg.Go(func() { workerErr = t.startWorkers(ctx, r, id) })
	wg.Wait()
	if err := errors.Join(apiErr, workerErr); err != nil {
		return err
	}
	_, err := t.clearCache(ctx, r)
	return err
}

// startDeadline bounds a step that starts services, which may first have to
// stop those of another release.
func (t *Target) startDeadline() time.Duration {
	return 2*t.Config.Celery.Drain + 5*t.Config.Celery.Start + 2*time.Minute
}

func (t *Target) startWorkers(ctx context.Context, r *step.Run, id string) error {
	group := t.Config.Services.Worker
	if err := t.replaceStrangers(ctx, group, id); err != nil {
		return err
	}
	if err := t.supervisor().StartGroup(ctx, group, true); err != nil {
		return err
	}
	if err := t.awaitWorkers(ctx, r, id); err != nil {
		return err
	}
	if err := t.replaceStrangers(ctx, t.Config.Services.Beat, id); err != nil {
		return err
	}
	if err := t.supervisor().StartGroup(ctx, t.Config.Services.Beat, true); err != nil {
		return err
	}
	if err := t.onRelease(ctx, t.Config.Services.Beat, id); err != nil {
		return err
	}
	return r.Note(ctx, factWorkersStarted, t.Now())
}

// replaceStrangers stops the processes of a group that run another release.
func (t *Target) replaceStrangers(ctx context.Context, group, id string) error {
	procs, err := t.processes(ctx, group)
	if err != nil {
		return err
	}
	for _, p := range procs {
		if p.Running() {
			if runs, err := t.releaseOf(ctx, p.PID); err == nil && runs == id {
				continue
			}
		}
		if err := t.supervisor().StopProcess(ctx, p.FullName(), true); err != nil {
			return err
		}
	}
	return nil
}

// awaitWorkers waits until every node answers a ping and consumes.
func (t *Target) awaitWorkers(ctx context.Context, r *step.Run, id string) error {
	control, err := t.celery(id)
	if err != nil {
		return err
	}
	defer control.Close()
	for end := t.Now().Add(t.Config.Celery.Start); ; {
		if err := t.onRelease(ctx, t.Config.Services.Worker, id); err != nil {
			return err
		}
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		answered, err := control.Ping(attempt, t.Config.Celery.Nodes)
		cancel()
		missing := slices.DeleteFunc(slices.Clone(t.Config.Celery.Nodes), func(n string) bool { return answered[n] != "" })
		if len(missing) == 0 {
			// A worker that was told to take no tasks, and was not stopped since.
			return control.AddConsumer(ctx, t.Config.Celery.Queue, t.Config.Celery.Nodes)
		}
		if t.Now().After(end) {
			return fmt.Errorf("after %s (celery.start) no ping was answered by %s: %w", t.Config.Celery.Start, strings.Join(missing, ", "), errors.Join(err, ErrNoAnswer))
		}
		r.Progress(int64(len(answered)), int64(len(t.Config.Celery.Nodes)), "workers answer")
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// ErrNoAnswer says that a process runs and does not answer.
var ErrNoAnswer = errors.New("no answer")

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

// get reads one page as seen from the host, at most a mebibyte of it.
func (t *Target) get(ctx context.Context, url string) (*http.Response, string, error) {
	return t.request(ctx, http.MethodGet, url)
}

func (t *Target) request(ctx context.Context, method, url string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Connect+t.Config.Thresholds.Latency)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return t.Host.Dial(ctx, "tcp", address)
	}}}
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res, string(body), err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line[:min(len(line), 200)]
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
