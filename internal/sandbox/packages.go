package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"
)

// StackPackages are the Debian packages that the stack consists of.
var StackPackages = []string{
	"postgresql", "redis-server", "rabbitmq-server", "supervisor",
	"prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "python3-venv", "git",
}

// TestPackages are those that tests need besides.
var TestPackages = []string{"prometheus-pushgateway"}

// installLimit bounds one run of apt-get: a slow mirror, or somebody else's
// installation that is waited for.
const installLimit = 15 * time.Minute

// MissingPackagesError says that packages are needed and that this process
// may not install them: it is not root, sudo wants a password and no terminal
// is there to ask for it.
type MissingPackagesError struct {
	Packages []string
	Reason   string // why they cannot be installed from here
}

// Error names the packages and the command that installs them.
func (e *MissingPackagesError) Error() string {
	return fmt.Sprintf("packages are missing and %s: %s: install them with: apt-get install --no-install-recommends %s",
		e.Reason, strings.Join(e.Packages, " "), strings.Join(e.Packages, " "))
}

// MissingPackages returns those of the named Debian packages whose programs
// are not on this machine, in the order given. It looks for the programs
// themselves, so that it costs no call of apt and a server that was installed
// by other means counts. A name that it does not know is taken for the name
// of its program.
func MissingPackages(names ...string) []string {
	var missing []string
	for _, name := range names {
		if !installed(name) {
			missing = append(missing, name)
		}
	}
	return missing
}

func installed(name string) bool {
	switch name {
	case "postgresql":
		_, err := postgresBin()
		return err == nil
	case "rabbitmq-server":
		return executable(rabbitServer) && executable(epmdProgram)
	case "supervisor":
		return executable(supervisordProgram)
	case "redis-server":
		return executable(redisProgram)
	case "prometheus":
		return executable(prometheusProgram)
	case "prometheus-alertmanager":
		return executable(alertmanagerProgram)
	case "prometheus-node-exporter":
		return executable(exporterProgram)
	case "python3-venv":
		return executable(pythonProgram) && ensurepip()
	default:
		_, err := exec.LookPath(name)
		return err == nil
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// ensurepip reports whether the distribution's Python can make virtual
// environments: Debian splits ensurepip off into python3.N-venv.
func ensurepip() bool {
	real, err := filepath.EvalSymlinks(pythonProgram)
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join("/usr/lib", filepath.Base(real), "ensurepip", "__init__.py"))
	return err == nil
}

// oldestPostgres is the oldest major version that the suite supports.
const oldestPostgres = 15

// postgresBin returns the folder of the newest PostgreSQL that is new enough
// and has the server and the dump programs.
func postgresBin() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	best, bestMajor := "", oldestPostgres-1
	for _, dir := range dirs {
		major, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if err != nil || major <= bestMajor {
			continue
		}
		complete := !slices.ContainsFunc([]string{"postgres", "initdb", "pg_dump", "pg_restore"}, func(p string) bool {
			return !executable(filepath.Join(dir, p))
		})
		if complete {
			best, bestMajor = dir, major
		}
	}
	if best == "" {
		return "", fmt.Errorf("looking for postgresql: /usr/lib/postgresql: no version %d or newer", oldestPostgres)
	}
	return best, nil
}

// InstallPackages installs those of the named Debian packages whose programs
// are missing, and returns at once when there are none. Nothing that it
// installs is started or enabled at boot. What apt says goes to out only when
// it fails; before and after there is one line each.
//
// It gives a *MissingPackagesError where it may not install.
func InstallPackages(ctx context.Context, out io.Writer, names ...string) error {
	missing, left := MissingPackages(names...), leftovers()
	if len(missing) == 0 && len(left) == 0 {
		return nil
	}
	r, err := findRoot(ctx)
	if err == nil {
		err = r.remove(ctx, left)
	}
	if len(missing) == 0 {
		return err
	}
	if r == nil {
		return &MissingPackagesError{Packages: missing, Reason: err.Error()}
	}
	if err != nil {
		return err
	}
	start := time.Now()
	fmt.Fprintf(out, "%-14s installing %s\n", "packages", strings.Join(missing, " "))
	if err := r.install(ctx, missing); err != nil {
		return fmt.Errorf("installing packages: %s: %w", strings.Join(missing, " "), err)
	}
	if left := MissingPackages(missing...); len(left) > 0 {
		return fmt.Errorf("installing packages: %s: apt-get succeeded, but their programs are not there: "+
			"PostgreSQL must be %d or newer, Python the distribution's own", strings.Join(left, " "), oldestPostgres)
	}
	fmt.Fprintf(out, "%-14s %-10s %6.1fs\n", "packages", "installed", time.Since(start).Seconds())
	return nil
}

// findRoot finds out how to run a command as root: being it, sudo without a
// password, or sudo that asks on the terminal. The error is the reason why
// none of them is possible.
func findRoot(ctx context.Context) (*rooter, error) {
	if !executable("/usr/bin/apt-get") {
		return nil, errors.New("this is neither Debian nor Ubuntu (no /usr/bin/apt-get)")
	}
	if os.Geteuid() == 0 {
		return &rooter{}, nil
	}
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return nil, errors.New("this is not root and there is no sudo")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if exec.CommandContext(ctx, sudo, "-n", "true").Run() == nil {
		return &rooter{prefix: []string{sudo, "-n"}}, nil
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return &rooter{prefix: []string{sudo}, asks: true}, nil
	}
	return nil, errors.New("this is not root, sudo asks for a password and there is no terminal to ask on")
}
