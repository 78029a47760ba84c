package sandbox

import (
	"context"
	"syscall"
	"time"
)

const exporterProgram = "/usr/bin/prometheus-node-exporter"

// exporter is a node exporter that reads what the suite writes of itself into
// the folder textfile, and tells of this machine what the dashboard shows.
func (s *Sandbox) exporter() part {
	return part{
		name: partExporter, port: portExporter,
		launch: func(context.Context) (command, error) {
			return command{argv: []string{
				exporterProgram, "--web.listen-address=" + loopback(s.st.Ports[portExporter]), "--web.disable-exporter-metrics",
				"--collector.disable-defaults", "--collector.cpu", "--collector.meminfo", "--collector.filesystem",
				"--collector.textfile", "--collector.textfile.directory=" + s.path("textfile"),
			}}, nil
		},
		ready: func(ctx context.Context, _ []process) error { return s.httpReady(ctx, portExporter, "/metrics") },
		limit: 30 * time.Second, stop: syscall.SIGTERM, grace: 5 * time.Second,
	}
}
