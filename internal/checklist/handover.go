package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// handOverVariable tells a successor which operation it is there for, and as of
// which lease: when somebody else has taken the operation up meanwhile, it is
// not wanted any more.
const handOverVariable = "ETF_HAND_OVER"

func handOver(operation string, token int64) string { return fmt.Sprintf("%s@%d", operation, token) }

// successorPatience is how long a successor waits for the lease: the step that
// its predecessor is in may need its grace to end.
const successorPatience = 10 * time.Minute

// A successor is the process that takes an operation back. It leads a session
// of its own: neither Mage's five seconds nor the terminal's end nor a second
// Ctrl-C reaches it, and what it does does not depend on anybody who watches.
// If it cannot be started, the journal says where the operation stands and
// `resume -undo` does the same.
type successor struct {
	t  *Target
	op *step.Operation

	once sync.Once
	cmd  *exec.Cmd
	err  error
}

// logFile is where a successor writes what it does.
func (s *successor) logFile() string { return path.Join(s.t.opsDir(), s.op.ID()+".log") }

// started reports whether the process was started, or could not be.
func (s *successor) started() bool { return s.cmd != nil || s.err != nil }

// start starts the process, once.
func (s *successor) start() {
	s.once.Do(func() {
		self, err := os.Executable()
		if err != nil {
			s.err = err
			return
		}
		log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			s.err = err
			return
		}
		defer log.Close()
		s.cmd = exec.Command(self, "resume", "-undo", "-yes")
		// A GitHub runner ends every process that still carries its tracking id.
		s.cmd.Env = append(os.Environ(), handOverVariable+"="+handOver(s.op.ID(), s.op.Token()), "RUNNER_TRACKING_ID=", step.FaultVariable+"=")
		s.cmd.Stdout, s.cmd.Stderr = log, log
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		s.err = s.cmd.Start()
	})
}

// follow starts the process if it is not there yet, shows what it does until
// it has ended and says how. The lease must have been parked.
func (s *successor) follow(ctx context.Context) error {
	s.start()
	if s.err != nil {
		return fmt.Errorf("%w: the undo could not be started (%v): run `resume -undo`", step.ErrNeedsPerson, s.err)
	}
	s.t.Observer.Log("undo", fmt.Sprintf("process %d takes the service back, also when this one ends; it writes %s", s.cmd.Process.Pid, s.logFile()))
	done, shown := make(chan struct{}), make(chan struct{})
	go func() { defer close(shown); s.show(done) }()
	err := s.cmd.Wait()
	close(done)
	<-shown
	if reloadErr := s.op.Journal().Reload(context.WithoutCancel(ctx)); reloadErr != nil {
		err = errors.Join(err, reloadErr)
	}
	if err != nil {
		return fmt.Errorf("%w: taking the service back: %w: see %s", step.ErrNeedsPerson, err, s.logFile())
	}
	if outcome := s.op.Journal().Log().Outcome(); outcome != journal.TakenBack {
		return fmt.Errorf("somebody else has taken the operation up (%s): `status` says where it stands", cmp.Or(outcome, "it has not ended"))
	}
	return ErrTakenBack
}

// show prints what the process writes to its log.
func (s *successor) show(done <-chan struct{}) {
	f, err := os.Open(s.logFile())
	if err != nil {
		return // it is only shown, and the log is named
	}
	defer f.Close()
	out := &lineWriter{each: func(line string) { s.t.Observer.Log("undo", line) }}
	for last := false; ; {
		io.Copy(out, f)
		if last {
			return
		}
		select {
		case <-done:
			last = true
		case <-time.After(200 * time.Millisecond):
		}
	}
}
