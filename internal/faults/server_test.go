package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// A serverFault takes something away under a running deployment.
type serverFault struct {
	name    string
	release flavour
	faults  string // of the program itself
	// harm waits for its moment and does it; the deployment runs as d.
	harm func(t *testing.T, r *rig, d *deployment)
	// config is text of deploy.yaml and what replaces it.
	config []string
	// early: what was taken away comes back as soon as the deployment has
	// noticed, so that it may take the service back by itself.
	early bool
	long  bool // without that it takes minutes; in the part it comes back early
}

var serverFaults = []serverFault{
	{name: "PostgreSQL restarted during the dump", release: expand, harm: postgresDuringDump},
	{name: "PostgreSQL restarted during the migration", release: slow, harm: postgresDuringMigration},
	{name: "PostgreSQL restarted during a restore", release: data, faults: "release:migrate:after=fail", harm: postgresDuringRestore},
	{name: "Redis gone at cache:clear", release: expand, harm: gone("redis", "backup:create", syscall.SIGKILL), early: true},
	{name: "RabbitMQ gone at services:stop", release: expand, harm: gone("rabbitmq", "services:stop", syscall.SIGKILL),
		config: []string{"drain: 2m", "drain: 2m\n      start: 20s"}, long: true}, // how long workers are waited for, in vain
	{name: "supervisord killed at services:start", release: stops, harm: gone("supervisor", "services:start", syscall.SIGKILL)},
	{name: "disk full during the backup", release: expand, harm: diskFull},
	{name: "last line of the journal torn, undone", release: stops, faults: "release:activate:during=kill", harm: torn},
	{name: "last line of the journal torn, resumed", release: expand, faults: "services:start:during=kill", harm: torn},
}

// A serverResult is what came of a server's fault.
type serverResult struct {
	name string
	ok   bool
	how  string // the operation ended
	took time.Duration
}

// String is one line of progress.
func (s serverResult) String() string {
	return fmt.Sprintf("%s %-45s %-20s %5.1fs", mark(s.ok), s.name, s.how, s.took.Seconds())
}

// runServer deploys, takes something away meanwhile, ends what was left and
// looks whether all is whole.
func (r *rig) runServer(t *testing.T, f serverFault) serverResult {
	began, how := time.Now(), ""
	ok := r.cell(t, f.name, func(t *testing.T) {
		target, err := r.releases.commit(t.Context(), f.release)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Changed(t, f.config...)()
		d := r.start(t, f.name == "disk full during the backup", f.faults, target)
		f.harm(t, r, d)
		if f.early {
			r.awaitJournal(d.pid(), d.before, `"type":"failed"`)
			r.revive(t)
		}
		how = r.endHarmed(t, d, f, target)
		r.whole(t, r.live)
	})
	res := serverResult{f.name, ok, how, time.Since(began)}
	fmt.Println(res)
	return res
}

// endHarmed waits for the deployment, brings the servers back and ends the
// operation where it could not end itself. It says how it ended.
func (r *rig) endHarmed(t *testing.T, d *deployment, f serverFault, target string) string {
	t.Helper()
	run := d.wait(t)
	r.revive(t)
	switch st := r.Status(t); {
	case run.Code == 1 && st.Operation.Outcome == "undone":
		return "undone"
	case run.Code == 4 && st.Operation.Outcome == "stuck":
		want(t, r.call(t, nil, forward.args()...), "resume of what is stuck", 0)
		return "stuck, then resume"
	case run.Code == -1 && f.name == "last line of the journal torn, resumed":
		want(t, r.call(t, nil, forward.args()...), "resume", 0)
		r.nowLive(target)
		return "resume"
	case run.Code == -1:
		want(t, r.call(t, nil, undo.args()...), "resume -undo", 0)
		return "resume -undo"
	default:
		t.Fatalf("exit %d, the operation is %+v", run.Code, st.Operation)
		return ""
	}
}

// A deployment is one that runs beside the test.
type deployment struct {
	r              *rig
	cmd            *exec.Cmd
	args           []string
	stdout, stderr *bytes.Buffer
	before         string // the newest journal before it
	began          time.Time
}

// start starts a deployment; with ownBackups, in a mount namespace of its own
// in which the folder of backups is a file system of its own.
func (r *rig) start(t *testing.T, ownBackups bool, faults, target string) *deployment {
	t.Helper()
	d := &deployment{r: r, args: []string{"deploy", "-ref=" + target}, before: r.Journal(), began: time.Now()}
	d.cmd, d.stdout, d.stderr = r.Command(stack.Faults(faults), d.args...)
	if ownBackups {
		d.cmd.Args = append(privileged("unshare", "--mount", "sh", "-c",
			fmt.Sprintf(`mount -t tmpfs -o size=1g,mode=700,uid=%d,gid=%d tmpfs "$1" && shift && exec setpriv --reuid=%[1]d --regid=%[2]d --init-groups "$@"`, os.Getuid(), os.Getgid()),
			"sh", r.backups(), r.Binary), d.args...)
		path, err := exec.LookPath(d.cmd.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		d.cmd.Path = path
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

// privileged is a command as root: by sudo where the tests run as somebody else.
func privileged(argv ...string) []string {
	if os.Geteuid() == 0 {
		return argv
	}
	return append([]string{"sudo", "-n", "-E"}, argv...)
}

func (r *rig) backups() string { return filepath.Join(r.Env["ETF_ROOT"], "backups") }

func (d *deployment) pid() int { return d.cmd.Process.Pid }

// await waits until the deployment's journal says so.
func (d *deployment) await(t *testing.T, texts ...string) {
	t.Helper()
	if !d.r.awaitJournal(d.pid(), d.before, texts...) {
		d.wait(t)
		t.Fatalf("the deployment ended before its journal said %q", texts)
	}
}

// wait waits for the end of the deployment.
func (d *deployment) wait(t *testing.T) stack.Run {
	t.Helper()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = d.cmd.Wait() }() // its exit code is looked at
	select {
	case <-ended:
	case <-time.After(5 * time.Minute):
		killAll(d.r.programs())
		<-ended
		t.Errorf("the deployment did not end within five minutes")
	}
	run := stack.Run{Code: d.cmd.ProcessState.ExitCode(), Stdout: d.stdout.String(), Stderr: d.stderr.String(), Took: time.Since(d.began)}
	d.r.tell(nil, d.args, run)
	return run
}

// began is the record by which a step begins.
func began(step string) string { return `"type":"start","step":"` + step + `"` }

// gone kills a server at the moment at which a step begins; cache:clear is over
// too soon for that, so that Redis goes one step before it.
func gone(part, step string, sig syscall.Signal) func(*testing.T, *rig, *deployment) {
	return func(t *testing.T, r *rig, d *deployment) {
		d.await(t, began(step))
		freeze(t, d.pid()) // so that it does nothing until the server is gone
		r.end(t, part, sig)
		thaw(d.pid())
	}
}

// postgresDuringDump holds a lock for which the dump has to wait, so that the
// server goes in the midst of it.
func postgresDuringDump(t *testing.T, r *rig, d *deployment) {
	d.await(t, began("services:stop"))
	conn := r.connect(t.Context(), t, "")
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "begin; lock table pension_contributions in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	d.await(t, began("backup:create"))
	time.Sleep(time.Second)
	r.end(t, "postgres", syscall.SIGQUIT) // immediate shutdown
	r.revive(t)
}

func postgresDuringMigration(t *testing.T, r *rig, d *deployment) {
	d.await(t, began("release:migrate"))
	conn := r.connect(t.Context(), t, "")
	defer conn.Close(context.Background())
	r.Await(t, 30*time.Second, "the migration to be in its statement", func() bool {
		return len(texts(t, conn, `select query from pg_stat_activity where query like 'SELECT pg_sleep%' and state = 'active'`)) > 0
	})
	r.end(t, "postgres", syscall.SIGQUIT)
	r.revive(t)
}

func postgresDuringRestore(t *testing.T, r *rig, d *deployment) {
	conn := r.connect(t.Context(), t, "postgres")
	defer conn.Close(context.Background())
	for end := time.Now().Add(2 * time.Minute); len(texts(t, conn, `select datname from pg_database where datname like 'goldfinch\_side\_%'`)) == 0; {
		if time.Now().After(end) {
			t.Fatal("no restore has begun")
		}
		time.Sleep(5 * time.Millisecond)
	}
	r.end(t, "postgres", syscall.SIGQUIT)
	r.revive(t)
}

// diskFull leaves the folder of backups no room when the service has begun to
// stop.
func diskFull(t *testing.T, r *rig, d *deployment) {
	d.await(t, began("services:stop"))
	argv := privileged("nsenter", "--target", fmt.Sprint(r.programs()[0].pid), "--mount", "mount", "-o", "remount,size=128k", r.backups())
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// torn cuts off the end of the journal's last line, as a crash of the machine
// does.
func torn(t *testing.T, r *rig, d *deployment) {
	r.Await(t, 2*time.Minute, "the deployment to be killed", func() bool { return state(d.pid()) == 'Z' })
	file := r.Journal()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, info.Size()-25); err != nil {
		t.Fatal(err)
	}
}
