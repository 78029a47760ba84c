package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The names of the ports that a sandbox remembers.
const (
	portPostgres     = "postgres"
	portRedis        = "redis"
	portAMQP         = "amqp"
	portDist         = "rabbitmq_dist" // Erlang's own, between nodes
	portEpmd         = "epmd"
	portAPI          = "api"
	portPrometheus   = "prometheus"
	portAlertmanager = "alertmanager"
	portPrices       = "prices"
	portExporter     = "node_exporter"

	portRabbitMetrics = "rabbitmq_metrics"
	portReceiver      = "alert_receiver" // of alerts; nobody listens but during a drill
)

var portNames = []string{
	portPostgres, portRedis, portAMQP, portDist, portEpmd,
	portAPI, portPrometheus, portAlertmanager, portPrices, portExporter, portRabbitMetrics, portReceiver,
}

// Ports are chosen from below the range that the kernel gives to outgoing
// connections: one of those could otherwise sit on a remembered port while
// the sandbox is down.
const (
	firstPort = 20000
	lastPort  = 31999
)

// freePort returns a loopback port that nobody listens on and that is not
// among the given ones.
func freePort(ctx context.Context, but []int) (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if slices.Contains(but, port) {
			continue
		}
		if bindable(ctx, port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("choosing a port: 127.0.0.1:%d-%d: 200 tries and none was free", firstPort, lastPort)
}

// bindable reports whether a server could listen on the port now.
func bindable(ctx context.Context, port int) bool {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// listeners maps each port on which somebody listens for 127.0.0.1 to the
// inodes of the sockets.
func listeners() map[int][]string {
	found := map[int][]string{}
	readListeners("/proc/net/tcp", found)
	readListeners("/proc/net/tcp6", found)
	return found
}

// readListeners reads the kernel's table of sockets: the second field is the
// local address in hexadecimal, the fourth the state, the tenth the inode.
func readListeners(path string, found map[int][]string) {
	const listen = "0A"
	f, err := os.Open(path)
	if err != nil {
		return // no IPv6 on this machine
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != listen {
			continue
		}
		address, hexPort, _ := strings.Cut(fields[1], ":")
		port, err := strconv.ParseInt(hexPort, 16, 32)
		if err != nil || !coversLoopback(address) {
			continue
		}
		found[int(port)] = append(found[int(port)], fields[9])
	}
}

// coversLoopback: the wildcard addresses and 127.0.0.1 itself, plain or
// mapped into IPv6.
func coversLoopback(address string) bool {
	return strings.Trim(address, "0") == "" || strings.HasSuffix(address, "0100007F")
}

// A listener says who listens on a port.
type listener int

const (
	listenNone listener = iota
	listenOurs
	listenForeign
)

// who finds out whether one of our processes listens on a port. A port's
// number alone proves nothing: the socket has to be open in one of them.
func who(port int, sockets map[int][]string, ours []process) listener {
	inodes := sockets[port]
	if len(inodes) == 0 {
		return listenNone
	}
	for _, p := range ours {
		for _, inode := range inodes {
			if holds(p, port, inode) {
				return listenOurs
			}
		}
	}
	return listenForeign
}

// holds reports whether a process has the port's socket open.
func holds(p process, port int, inode string) bool {
	dir := procPath(p.PID, "fd")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) && p.part == partPostgres {
		// The root of a plain container may not look into the processes of
		// another user: the server's own lock file names its port.
		return lockFilePort(p.PID) == port
	}
	want := "socket:[" + inode + "]"
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil && target == want {
			return true
		}
	}
	return false
}

// portTakenError says that somebody else listens where a server should.
type portTakenError struct{ port int }

func (e *portTakenError) Error() string {
	return fmt.Sprintf("port %d: another program listens on it", e.port)
}
