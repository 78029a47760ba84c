package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// RabbitMQ is a running broker with one user and the virtual host "/".
type RabbitMQ struct {
	Port     int
	Password string // of the user etf
	p, epmd  *process
}

// URL is the address of the virtual host "/" for the user etf.
func (s *RabbitMQ) URL() string {
	return fmt.Sprintf("amqp://etf:%s@127.0.0.1:%d//", s.Password, s.Port)
}

// Stop ends the broker.
func (s *RabbitMQ) Stop() { s.p.stop(); s.epmd.stop() }

// StartRabbitMQ starts a broker with a port mapper of its own.
func StartRabbitMQ(dir string) (*RabbitMQ, error) {
	dir, err := mkdir(dir, "rabbitmq")
	if err != nil {
		return nil, err
	}
	var ports [3]int
	for i := range ports {
		if ports[i], err = Port(); err != nil {
			return nil, err
		}
	}
	s := &RabbitMQ{Port: ports[0], Password: "rabbit-secret-1"}
	conf := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\ndefault_user = etf\ndefault_pass = %s\ndefault_vhost = /\n"+
		"disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 256MB\n", s.Port, s.Password)
	files := map[string]string{"rabbitmq.conf": conf, "env.conf": "", "advanced.config": "[].", "plugins": "[].", ".erlang.cookie": "testserver"}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o400); err != nil {
			return nil, err
		}
	}
	env := append(os.Environ(), rabbitEnv(dir, ports)...)
	epmd := exec.Command("/usr/bin/epmd", "-port", fmt.Sprint(ports[2]), "-address", "127.0.0.1")
	epmd.Env = env
	if s.epmd, err = start(epmd, filepath.Join(dir, "epmd.log"), syscall.SIGTERM); err != nil {
		return nil, err
	}
	cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmq-server")
	cmd.Dir, cmd.Env = dir, env
	// Killed, not asked: nobody needs its data, and asking takes seconds.
	if s.p, err = start(cmd, filepath.Join(dir, "log"), syscall.SIGKILL); err != nil {
		return nil, err
	}
	return s, s.p.await("rabbitmq", 90*time.Second, dialable("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port)))
}

func rabbitEnv(dir string, ports [3]int) []string {
	return []string{
		"HOME=" + dir,
		// As under systemd the Erlang machine replaces the shell, so that
		// the process started is the one to end.
		"RUNNING_UNDER_SYSTEMD=1",
		"RABBITMQ_NODENAME=testserver@localhost",
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_NODE_PORT=%d", ports[0]),
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[1]),
		fmt.Sprintf("ERL_EPMD_PORT=%d", ports[2]),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "rabbitmq.conf"),
		"RABBITMQ_CONF_ENV_FILE=" + filepath.Join(dir, "env.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + filepath.Join(dir, "advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "plugins"),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE=" + filepath.Join(dir, "logs"),
		"RABBITMQ_PID_FILE=" + filepath.Join(dir, "pid"),
		"RABBITMQ_GENERATED_CONFIG_DIR=" + filepath.Join(dir, "generated"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -kernel inet_dist_use_interface {127,0,0,1}",
	}
}

// Signal sends a signal to the broker's process.
func (s *RabbitMQ) Signal(sig syscall.Signal) { s.p.cmd.Process.Signal(sig) }
