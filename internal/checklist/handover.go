package checklist

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// handOverVariable tells the process that takes an operation over to expect
// that the lease is not free yet.
const handOverVariable = "ETF_HAND_OVER"

// handOver has another process take the operation back and waits for it. The
// process leads a session of its own: neither Mage's five seconds nor the
// terminal's end nor a second Ctrl-C reaches it. If it cannot be started, the
// journal says where the operation stands and `resume -undo` does the same.
func (t *Target) handOver(op *step.Operation, held *lease.Lease) error {
	t.releaseLease(held)
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("%w: the undo could not be started (%v): run `resume -undo`", step.ErrNeedsPerson, err)
	}
	log, err := os.OpenFile(t.logFile(op.ID()), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%w: the undo could not be started (%v): run `resume -undo`", step.ErrNeedsPerson, err)
	}
	defer log.Close()
	cmd := exec.Command(self, "resume", "-undo", "-yes")
	// A GitHub runner ends every process that still carries its tracking id.
	cmd.Env = append(os.Environ(), handOverVariable+"="+op.ID(), "RUNNER_TRACKING_ID=", step.FaultVariable+"=")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: the undo could not be started (%v): run `resume -undo`", step.ErrNeedsPerson, err)
	}
	t.Observer.Log("undo", fmt.Sprintf("process %d takes the service back, also when this one ends; see `status` or %s", cmd.Process.Pid, log.Name()))
	done := make(chan struct{})
	followed := make(chan struct{})
	go func() { defer close(followed); t.follow(log.Name(), done) }()
	err = cmd.Wait()
	close(done)
	<-followed
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == needsPersonCode {
			return fmt.Errorf("%w: see %s", step.ErrNeedsPerson, log.Name())
		}
		return fmt.Errorf("taking the service back: %w: see %s", err, log.Name())
	}
	return ErrTakenBack
}

// follow shows what another process writes to its log until done.
func (t *Target) follow(name string, done <-chan struct{}) {
	f, err := os.Open(name)
	if err != nil {
		return // it is only shown, and the log is named
	}
	defer f.Close()
	out := &lineWriter{each: func(line string) { t.Observer.Log("undo", line) }}
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

// needsPersonCode is the exit code of a target that ended with ErrNeedsPerson.
const needsPersonCode = 4
