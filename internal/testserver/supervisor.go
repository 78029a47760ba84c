package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Supervisor is a running supervisord.
type Supervisor struct {
	Socket string // its unix socket
	Dir    string // its folder; %(here)s in programs
	p      *process
}

// PID is that of supervisord.
func (s *Supervisor) PID() int { return s.p.cmd.Process.Pid }

// Stop ends it and its programs.
func (s *Supervisor) Stop() { s.p.stop() }

// StartSupervisor starts a supervisord with these sections of programs.
func StartSupervisor(dir, programs string) (*Supervisor, error) {
	dir, err := mkdir(dir, "supervisor")
	if err != nil {
		return nil, err
	}
	s := &Supervisor{Socket: filepath.Join(dir, "sock"), Dir: dir}
	conf := fmt.Sprintf("[unix_http_server]\nfile=%s\nchmod=0700\n[supervisord]\nnodaemon=true\nlogfile=%s/supervisord.log\n"+
		"pidfile=%s/pid\nchildlogdir=%s\nidentifier=testserver\n"+
		"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n%s\n",
		s.Socket, dir, dir, dir, programs)
	file := filepath.Join(dir, "supervisord.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("/usr/bin/supervisord", "-n", "-c", file)
	cmd.Dir = dir
	if s.p, err = start(cmd, filepath.Join(dir, "log"), syscall.SIGTERM); err != nil {
		return nil, err
	}
	return s, s.p.await("supervisord", 20*time.Second, dialable("unix", s.Socket))
}
