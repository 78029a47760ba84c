package monitoring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

const deployYAML = "../../deploy.yaml"

// folder holds what the tests of this package share.
var folder string

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) error {
		folder = dir
		return nil
	}))
}

// python is the interpreter of a virtual environment with the versions that
// the sandbox's service runs with.
var python = sync.OnceValues(func() (string, error) {
	return testserver.Venv(folder, "prometheus-client==0.26.0")
})

func interpreter(t testing.TB) string {
	t.Helper()
	path, err := python()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// install puts packages into a folder of their own for PYTHONPATH.
func install(t testing.TB, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	argv := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", dir}, packages...)
	if out, err := exec.Command(interpreter(t), argv...).CombinedOutput(); err != nil {
		t.Fatalf("pip install %v: %v\n%s", packages, err, out)
	}
	return dir
}

// service lays the generated files out as the service has them.
func service(t testing.TB) (dir string) {
	t.Helper()
	e, err := monitoring.Load(deployYAML, monitoring.Committed, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.Name = "test" // without the copies
	files, err := monitoring.Files(e, monitoring.Everything)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for i, f := range files {
		switch f.Path {
		case monitoring.LoggingFile:
			files[i].Path = "logging.conf"
		case monitoring.LogModuleFile, monitoring.MetricsModuleFile:
			files[i].Path = filepath.Join("app/core", filepath.Base(f.Path))
		}
	}
	files = append(files, monitoring.File{Path: "app/__init__.py"}, monitoring.File{Path: "app/core/__init__.py"})
	if _, err := monitoring.Write(dir, files); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sorted compares lists without their order.
var sorted = cmp.Transformer("sorted", func(values []string) []string { return slices.Sorted(slices.Values(values)) })

// run runs a Python program in the service's folder.
func run(t testing.TB, dir string, env []string, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), interpreter(t), append([]string{"-c", program}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if exit, ok := err.(*exec.ExitError); ok {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("python: %v\n%s%s", err, out, stderr)
	}
	return string(out)
}
