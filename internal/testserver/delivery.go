package testserver

import "os/exec"

// StartPushgateway starts a Pushgateway, of the package
// prometheus-pushgateway.
func StartPushgateway(dir string) (*Web, error) {
	return startWeb(dir, "pushgateway", "", func(_, _, address string) *exec.Cmd {
		return exec.Command("/usr/bin/prometheus-pushgateway", "--web.listen-address="+address)
	})
}

// StartNodeExporter starts a node exporter, of the package
// prometheus-node-exporter, that reads the files in a folder and nothing else.
func StartNodeExporter(dir, folder string) (*Web, error) {
	return startWeb(dir, "node-exporter", "", func(_, _, address string) *exec.Cmd {
		return exec.Command("/usr/bin/prometheus-node-exporter", "--web.listen-address="+address, "--web.disable-exporter-metrics",
			"--collector.disable-defaults", "--collector.textfile", "--collector.textfile.directory="+folder)
	})
}
