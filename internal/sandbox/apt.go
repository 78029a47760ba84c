package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A rooter runs commands as root.
type rooter struct {
	prefix []string // sudo and its options; empty for root itself
	asks   bool     // sudo may ask for a password on the terminal
}

// The two files that keep an installation quiet. Both are ours only while
// apt-get runs; their text names the process that made them, so that the next
// run can tell what a killed one left behind.
const (
	policyFile  = "/usr/sbin/policy-rc.d" // exit 101: start no service
	clusterDir  = "/etc/postgresql-common/createcluster.d"
	clusterFile = clusterDir + "/etf-deploy-sandbox.conf"
	madeBy      = "# made by the etf-deploy sandbox while it installs packages, process "
)

// install brings the packages in without starting or enabling any of them.
func (r *rooter) install(ctx context.Context, packages []string) (err error) {
	before := enabledUnits()
	undoPolicy, err := r.place(ctx, policyFile, "#!/bin/sh\n"+ownMark()+"exit 101\n", 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undoPolicy()) }()
	// The folder for our setting belongs to postgresql-common, which starts
	// nothing; it has to be there before the server's own package.
	if slices.Contains(packages, "postgresql") {
		if err := r.aptInstall(ctx, []string{"postgresql-common"}); err != nil {
			return err
		}
		undoCluster, err := r.place(ctx, clusterFile, ownMark()+"create_main_cluster = false\n", 0o644)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, undoCluster()) }()
	}
	if err := r.aptInstall(ctx, packages); err != nil {
		return err
	}
	return r.disableNew(ctx, before)
}

// aptInstall installs, and repairs what stands in the way once: lists that
// are missing or stale, an earlier installation that was cut short.
func (r *rooter) aptInstall(ctx context.Context, packages []string) error {
	if !haveLists() {
		if err := r.aptUpdate(ctx); err != nil {
			return err
		}
	}
	args := append([]string{"apt-get", "install", "-y", "-q", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold", "--"}, packages...)
	out, err := r.run(ctx, installLimit, args...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if bytes.Contains(out, []byte("dpkg --configure -a")) {
		if _, err := r.run(ctx, installLimit, "dpkg", "--configure", "-a", "--force-confold"); err != nil {
			return err
		}
	}
	if err := r.aptUpdate(ctx); err != nil {
		return err
	}
	_, err = r.run(ctx, installLimit, args...)
	return err
}

// aptUpdate fetches the lists. Unlike the lock of dpkg, apt-get does not wait
// for the lock of the lists, so this does.
func (r *rooter) aptUpdate(ctx context.Context) error {
	for deadline := time.Now().Add(5 * time.Minute); ; {
		out, err := r.run(ctx, installLimit, "apt-get", "update", "-q")
		busy := bytes.Contains(out, []byte("Could not get lock"))
		if err == nil || !busy || time.Now().After(deadline) {
			return err
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

func haveLists() bool {
	lists, _ := filepath.Glob("/var/lib/apt/lists/*Packages*")
	return len(lists) > 0
}

// run runs one command as root and returns what it printed, which also rides
// on the error. The command leads a process group of its own, so that a
// Ctrl-C on the terminal does not cut dpkg short before this process decides;
// a sudo that asks must stay in the terminal's group to read the answer.
func (r *rooter) run(ctx context.Context, limit time.Duration, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	full := append([]string{}, r.prefix...)
	full = append(full, "/usr/bin/env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "PATH="+systemPath)
	full = append(full, argv...)
	cmd := exec.CommandContext(ctx, full[0], full[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if r.asks {
		cmd.Stdin = os.Stdin
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	cmd.Cancel = func() error { return r.terminate(cmd.Process.Pid) }
	cmd.WaitDelay = 4 * time.Second
	err := cmd.Run()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out.Bytes(), fmt.Errorf("%s: %w%s", strings.Join(argv, " "), err, tailOf(out.Bytes(), 15))
	}
	return out.Bytes(), nil
}

// terminate asks a command to end. What sudo started belongs to root: a
// second sudo has to send the signal.
func (r *rooter) terminate(pid int) error {
	if len(r.prefix) == 0 {
		return syscall.Kill(-pid, syscall.SIGTERM)
	}
	argv := append(append([]string{}, r.prefix...), "/bin/sh", "-c", `kill -TERM "$1"`, "sh", strconv.Itoa(pid))
	return exec.Command(argv[0], argv[1:]...).Run()
}

// place writes a file unless it is there already, and returns what removes it
// again; that works after the context has ended, too.
func (r *rooter) place(ctx context.Context, path, text string, mode os.FileMode) (func() error, error) {
	nothing := func() error { return nil }
	if _, err := os.Lstat(path); err == nil {
		return nothing, nil
	}
	source, err := os.CreateTemp("", "etf-sandbox-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(source.Name())
	_, err = source.WriteString(text)
	if err = errors.Join(err, source.Close()); err != nil {
		return nil, err
	}
	undo := func() error {
		return r.remove(context.WithoutCancel(ctx), []string{path})
	}
	if _, err := r.run(ctx, time.Minute, "install", "-D", "-m", fmt.Sprintf("%04o", mode), "--", source.Name(), path); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

func ownMark() string { return madeBy + strconv.Itoa(os.Getpid()) + "\n" }

// leftovers are those of the two files that a process made which is gone: it
// was killed in the midst of an installation.
func leftovers() []string {
	var left []string
	for _, path := range []string{policyFile, clusterFile} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, after, ours := strings.Cut(string(text), madeBy)
		line, _, _ := strings.Cut(after, "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if _, alive := readProcess(pid); ours && err == nil && !alive {
			left = append(left, path)
		}
	}
	return left
}

func (r *rooter) remove(ctx context.Context, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	_, err := r.run(ctx, time.Minute, append([]string{"rm", "-f", "--"}, paths...)...)
	return err
}

// enabledUnits returns the links by which systemd starts units at boot.
func enabledUnits() []string {
	var links []string
	for _, pattern := range []string{"*.wants", "*.requires"} {
		found, _ := filepath.Glob(filepath.Join("/etc/systemd/system", pattern, "*"))
		links = append(links, found...)
	}
	return links
}

// disableNew disables the units that the installation enabled. Debian enables
// them also where systemd is not running or not even installed, to be there at
// the next boot; in the latter case there are only the links to remove.
func (r *rooter) disableNew(ctx context.Context, before []string) error {
	var links, units []string
	for _, link := range enabledUnits() {
		if !slices.Contains(before, link) {
			links, units = append(links, link), append(units, filepath.Base(link))
		}
	}
	if len(links) == 0 {
		return nil
	}
	if _, err := exec.LookPath("systemctl"); err != nil {
		return r.remove(ctx, links)
	}
	args := []string{"systemctl", "disable"}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		args = append(args, "--now")
	}
	_, err := r.run(ctx, 2*time.Minute, append(append(args, "--"), units...)...)
	return err
}
