package testserver

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Venv makes a virtual environment of the system's Python with these packages
// from the package index (pip's own cache serves them the second time) and
// returns its interpreter.
func Venv(dir string, packages ...string) (python string, err error) {
	venv := filepath.Join(dir, "venv")
	python = filepath.Join(venv, "bin", "python")
	for _, argv := range [][]string{
		{"/usr/bin/python3", "-m", "venv", venv},
		append([]string{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...),
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w: %s (is python3-venv installed?)", argv, err, out)
		}
	}
	return python, nil
}

// Start runs a program, with its output in log, until the test binary ends.
// The returned function ends it earlier.
func Start(cmd *exec.Cmd, log string) (stop func(), err error) {
	p, err := start(cmd, log, syscall.SIGTERM)
	if err != nil {
		return nil, err
	}
	return p.stop, nil
}
