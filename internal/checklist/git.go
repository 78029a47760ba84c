package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// originRemote is the name under which git knows source.origin: its address may
// hold a token, and reaches git by the environment, not by its arguments.
const originRemote = "etf-origin"

// git runs git without a prompt, a pager or the user's own configuration of
// hooks; credentials come from the usual helpers and agents.
func (t *Target) git(ctx context.Context, timeout time.Duration, args ...string) (string, error) {
	res, err := t.Host.Run(ctx, host.Command{
		Argv: append([]string{"git", "-c", "core.hooksPath=/dev/null"}, args...),
		Env: []string{"GIT_TERMINAL_PROMPT=0", "GIT_SSH_COMMAND=" + sshCommand(), "LC_ALL=C",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=remote." + originRemote + ".url", "GIT_CONFIG_VALUE_0=" + t.Config.Source.Origin},
		Timeout: timeout,
	})
	return strings.TrimSpace(string(res.Stdout)), err
}

func sshCommand() string {
	if own := os.Getenv("GIT_SSH_COMMAND"); own != "" {
		return own
	}
	return "ssh -o BatchMode=yes -o ConnectTimeout=10"
}

// updateMirror brings the bare copy of the origin up to date. Branches are
// taken as they are there, also those that were rewritten.
func (t *Target) updateMirror(ctx context.Context) error {
	dir := t.mirrorDir()
	if _, err := t.Host.Stat(ctx, path.Join(dir, "HEAD")); errors.Is(err, fs.ErrNotExist) {
		if _, err := t.git(ctx, time.Minute, "init", "--quiet", "--bare", dir); err != nil {
			return fmt.Errorf("making %s: %w", dir, err)
		}
	}
	return t.fetchInto(ctx, dir)
}

func (t *Target) fetchInto(ctx context.Context, dir string) error {
	_, err := t.git(ctx, 5*time.Minute, "--git-dir="+dir, "fetch", "--quiet", "--prune", "--force", "--tags",
		originRemote, "+refs/heads/*:refs/heads/*")
	if err != nil {
		return fmt.Errorf("fetching from source.origin %s: %w", host.Redact(t.Config.Source.Origin), err)
	}
	return nil
}

// resolve finds the commit that a ref names in the mirror.
func (t *Target) resolve(ctx context.Context, dir, ref string) (commit, subject string, err error) {
	if err := CheckRef(ref); err != nil {
		return "", "", err
	}
	commit, err = t.git(ctx, time.Minute, "--git-dir="+dir, "rev-parse", "--quiet", "--verify", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return "", "", fmt.Errorf("%w: ref %q is neither branch, tag nor commit of %s", ErrUsage, ref, host.Redact(t.Config.Source.Origin))
	}
	subject, err = t.git(ctx, time.Minute, "--git-dir="+dir, "show", "--no-patch", "--format=%s", commit)
	return commit, subject, err
}

// unpack writes the files of a commit into a new folder.
func (t *Target) unpack(ctx context.Context, mirror, commit, dir string) error {
	if err := t.Host.Mkdir(ctx, dir, 0o755); err != nil {
		return fmt.Errorf("unpacking %s: %w", commit[:8], err)
	}
	archive := path.Join(dir, ".archive.tar")
	if _, err := t.git(ctx, 5*time.Minute, "--git-dir="+mirror, "archive", "--format=tar", "--output="+archive, commit); err != nil {
		return fmt.Errorf("unpacking %s: %w", commit[:8], err)
	}
	if _, err := t.Host.Run(ctx, host.Command{Argv: []string{"tar", "-x", "-f", archive, "-C", dir}, Timeout: 5 * time.Minute}); err != nil {
		return fmt.Errorf("unpacking %s: %w", commit[:8], err)
	}
	return t.Host.Remove(ctx, archive)
}
