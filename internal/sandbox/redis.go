package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const redisProgram = "/usr/bin/redis-server"

func (s *Sandbox) redis() part {
	return part{
		name: partRedis, port: portRedis,
		launch: s.launchRedis, ready: s.redisReady,
		limit: 30 * time.Second, stop: syscall.SIGTERM, grace: 10 * time.Second,
	}
}

func (s *Sandbox) launchRedis(context.Context) (command, error) {
	if err := s.folders("redis"); err != nil {
		return command{}, err
	}
	// Saved when it stops: the flag that pauses updates outlives a restart of
	// the sandbox. The process title stays off because it overwrites the
	// environment, by which the sandbox knows its processes.
	conf := fmt.Sprintf(`# written by sandbox:up
bind 127.0.0.1
port %d
requirepass %s
dir "%s"
save 300 1
appendonly no
daemonize no
set-proc-title no
`, s.st.Ports[portRedis], s.st.Secrets.Redis, s.path("redis"))
	path := s.path("redis", "redis.conf")
	if err := writeFile(path, []byte(conf), 0o600); err != nil {
		return command{}, err
	}
	return command{argv: []string{redisProgram, path}}, nil
}

// redisReady asks the server for its process id.
func (s *Sandbox) redisReady(ctx context.Context, ours []process) error {
	client := redis.NewClient(&redis.Options{
		Addr: loopback(s.st.Ports[portRedis]), Password: s.st.Secrets.Redis,
		MaxRetries: -1, DisableIdentity: true, PoolSize: 1,
	})
	defer client.Close()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return err
	}
	pid := 0
	for _, line := range strings.Split(info, "\r\n") {
		if value, found := strings.CutPrefix(line, "process_id:"); found {
			pid, _ = strconv.Atoi(value)
		}
	}
	if !slices.ContainsFunc(ours, func(p process) bool { return p.PID == pid }) {
		return fmt.Errorf("the server on port %d is process %d, not the sandbox's", s.st.Ports[portRedis], pid)
	}
	return client.Ping(ctx).Err()
}
