package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// The wrapper in /usr/sbin changes the user; this is what it calls.
	rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	epmdProgram  = "/usr/bin/epmd"
	brokerUser   = "etf"
)

// epmd is the name server that Erlang cannot do without: one of our own, as
// the standard port belongs to the machine.
func (s *Sandbox) epmd() part {
	return part{
		name: partEpmd, port: portEpmd,
		launch: func(context.Context) (command, error) {
			return command{argv: []string{epmdProgram, "-port", strconv.Itoa(s.st.Ports[portEpmd]), "-address", "127.0.0.1"}}, nil
		},
		ready: func(context.Context, []process) error { return nil },
		limit: 30 * time.Second, stop: syscall.SIGTERM, grace: 3 * time.Second,
	}
}

func (s *Sandbox) rabbitmq() part {
	return part{
		name: partRabbitMQ, port: portAMQP,
		launch: s.launchRabbitMQ, ready: s.rabbitReady,
		serves: func(p process) bool { return p.comm == "beam.smp" || p.comm == "rabbitmq-server" },
		limit:  3 * time.Minute, stop: syscall.SIGTERM, grace: 30 * time.Second,
	}
}

// rabbitStarted marks that the broker was ready once. Its first start creates
// the user; one that was cut short in that is done anew.
func (s *Sandbox) rabbitStarted() string { return s.path("rabbitmq", "started") }

func (s *Sandbox) launchRabbitMQ(context.Context) (command, error) {
	if _, err := os.Stat(s.rabbitStarted()); errors.Is(err, fs.ErrNotExist) {
		if err := os.RemoveAll(s.path("rabbitmq")); err != nil {
			return command{}, err
		}
	}
	if err := s.folders("rabbitmq", "rabbitmq/home", "rabbitmq/mnesia", "rabbitmq/conf"); err != nil {
		return command{}, err
	}
	for name, text := range map[string]string{
		"rabbitmq.conf":   s.rabbitConf(),
		"advanced.config": "[].\n",
		"enabled_plugins": "[rabbitmq_prometheus].\n",
		"rabbitmq-env.sh": "# written by sandbox:up: nothing of the machine's own configuration counts here\n",
		"inetrc":          "{host, {127,0,0,1}, [\"localhost\"]}.\n{lookup, [file, native]}.\n",
	} {
		if err := writeFile(s.path("rabbitmq", name), []byte(text), 0o600); err != nil {
			return command{}, err
		}
	}
	// Erlang takes the cookie only from a file that nobody else can read.
	if err := writeFile(s.path("rabbitmq", "home", ".erlang.cookie"), []byte(s.st.Secrets.Cookie), 0o400); err != nil {
		return command{}, err
	}
	return command{argv: []string{rabbitServer}, env: s.rabbitEnvironment()}, nil
}

func (s *Sandbox) rabbitConf() string {
	return fmt.Sprintf(`# written by sandbox:up
listeners.tcp.1 = 127.0.0.1:%d
default_user = %s
default_pass = %s
default_vhost = /
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 256MB
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = %d
`, s.st.Ports[portAMQP], brokerUser, s.st.Secrets.Broker, s.st.Ports[portRabbitMetrics])
}

func (s *Sandbox) rabbitEnvironment() []string {
	port := func(name string) string { return strconv.Itoa(s.st.Ports[name]) }
	own := func(name string) string { return s.path("rabbitmq", name) }
	return []string{
		"HOME=" + own("home"),
		"RABBITMQ_NODENAME=sandbox@localhost",
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT=" + port(portAMQP),
		"RABBITMQ_DIST_PORT=" + port(portDist),
		"ERL_EPMD_PORT=" + port(portEpmd),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_INETRC=" + own("inetrc"),
		"RABBITMQ_CONFIG_FILE=" + own("rabbitmq.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + own("advanced.config"),
		"RABBITMQ_CONF_ENV_FILE=" + own("rabbitmq-env.sh"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + own("enabled_plugins"),
		"RABBITMQ_MNESIA_BASE=" + own("mnesia"),
		"RABBITMQ_LOG_BASE=" + s.path("log"),
		"RABBITMQ_LOGS=-",
		"RABBITMQ_PID_FILE=" + own("pid"),
		"RABBITMQ_GENERATED_CONFIG_DIR=" + own("conf"),
		// Without busy waiting, an idle broker costs no processor time.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
	}
}

// rabbitReady logs in, which also shows that the first start has created the
// user. The port alone opens a moment earlier.
func (s *Sandbox) rabbitReady(ctx context.Context, _ []process) error {
	conn, err := amqp.DialConfig(s.brokerURL(), amqp.Config{
		Dial: amqp.DefaultDial(3 * time.Second), Heartbeat: 10 * time.Second,
	})
	if err != nil {
		return err
	}
	if err := conn.Close(); err != nil {
		return err
	}
	return writeFile(s.rabbitStarted(), []byte("ready\n"), 0o600)
}

// brokerURL names the virtual host "/" by a second slash, as Celery wants it.
func (s *Sandbox) brokerURL() string {
	u := url.URL{Scheme: "amqp", User: url.UserPassword(brokerUser, s.st.Secrets.Broker), Host: loopback(s.st.Ports[portAMQP]), Path: "//"}
	return u.String()
}
