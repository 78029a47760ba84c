// Package testserver starts the servers that the clients' tests talk to: real
// ones, from the system's packages, on free loopback ports and in folders of
// their own. They end with the test binary, even when it panics or is killed.
package testserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Run is the body of a TestMain: it makes a folder, lets setup start what the
// package's tests share in it, runs them, and ends what was started. When
// something failed the folder, with the servers' logs, stays.
func Run(m *testing.M, setup func(dir string) error) int {
	dir, err := os.MkdirTemp("", "testserver-")
	if err == nil {
		// PostgreSQL runs as a user of its own.
		err = os.Chmod(dir, 0o711)
	}
	if err == nil {
		err = setup(dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "starting the servers of the tests: %v\n(logs are in %s)\n", err, dir)
		StopAll()
		return 1
	}
	code := m.Run()
	StopAll()
	if code != 0 {
		fmt.Fprintln(os.Stderr, "logs of the servers are in", dir)
		return code
	}
	os.RemoveAll(dir)
	return 0
}

// A process is one server that runs until stop.
type process struct {
	cmd  *exec.Cmd
	sig  syscall.Signal // how it is asked to end
	done chan struct{}
	err  error // of Wait, once done is closed
}

var running struct {
	sync.Mutex
	all []*process
}

// starts are handed to one thread that never ends: the kernel sends the death
// signal when the thread that started a child goes, not the process.
var starts = sync.OnceValue(func() chan func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// start runs cmd with its output in log until stop, or until this process ends.
func start(cmd *exec.Cmd, log string, sig syscall.Signal) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = sig
	p := &process{cmd: cmd, sig: sig, done: make(chan struct{})}
	errc := make(chan error)
	starts() <- func() { errc <- cmd.Start() }
	if err := <-errc; errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: install the packages that the tests need (go tool mage test does): %w", cmd.Path, err)
	} else if err != nil {
		return nil, err
	}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	running.Lock()
	running.all = append(running.all, p)
	running.Unlock()
	return p, nil
}

// stop asks the process to end and, after five seconds, kills its group.
func (p *process) stop() {
	select {
	case <-p.done:
		return
	default:
	}
	p.cmd.Process.Signal(p.sig)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// StopAll ends every server that this package has started, the newest first.
func StopAll() {
	running.Lock()
	all := running.all
	running.all = nil
	running.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		all[i].stop()
	}
}

// await polls ready until it holds, the process ends or the time is up.
func (p *process) await(what string, limit time.Duration, ready func() error) error {
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); {
		if err = ready(); err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended while starting: %v", what, p.err)
		case <-time.After(30 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not ready after %s: %w", what, limit, err)
}

// Port returns a loopback port that is free now.
func Port() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func dialable(network, address string) func() error {
	return func() error {
		c, err := net.DialTimeout(network, address, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// mkdir makes dir/name.
func mkdir(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.MkdirAll(path, 0o755)
}
