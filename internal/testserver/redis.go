package testserver

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Redis is a running Redis server with 16 databases.
type Redis struct {
	Port     int
	Password string
	p        *process
}

// URL is the address of one of its databases.
func (s *Redis) URL(db int) string {
	return fmt.Sprintf("redis://:%s@127.0.0.1:%d/%d", s.Password, s.Port, db)
}

// Stop ends the server.
func (s *Redis) Stop() { s.p.stop() }

// StartRedis starts a server that keeps nothing on disk.
func StartRedis(dir string) (*Redis, error) {
	dir, err := mkdir(dir, "redis")
	if err != nil {
		return nil, err
	}
	s := &Redis{Password: "redis-secret-1"}
	if s.Port, err = Port(); err != nil {
		return nil, err
	}
	cmd := exec.Command("/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(s.Port), "--dir", dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--requirepass", s.Password)
	if s.p, err = start(cmd, filepath.Join(dir, "log"), syscall.SIGTERM); err != nil {
		return nil, err
	}
	return s, s.p.await("redis", 20*time.Second, dialable("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port)))
}
