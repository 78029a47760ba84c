package faults

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// A flavour is what the migration of a generated release is like.
type flavour string

const (
	expand flavour = "expand" // runs beside the API
	stops  flavour = "stops"  // not declared: the API is stopped for it
	data   flavour = "data"   // changes rows as well: taken back by a restore
	slow   flavour = "slow"   // as data, and takes three seconds
	code   flavour = "code"   // there is none
)

// releases are generated commits in the sandbox's origin, each with a
// migration of its own. Their packages are installed once for all of them: a
// release's virtual environment is real, and what pip puts into it is one
// small wheel that points to the packages.
type releases struct {
	tree     string // a clone of the origin
	count    int
	live     string // the commit that further ones are built on
	head     string // its Alembic head
	next     string // a commit on top of it that is not live yet; or none
	heads    map[string]string
	flavours map[string]flavour
}

const branch = "faults"

func newReleases(ctx context.Context, s *stack.Stack) (*releases, error) {
	l := &releases{tree: filepath.Join(s.Dir, "tree"), heads: map[string]string{}, flavours: map[string]flavour{}}
	if _, err := git(ctx, s.Dir, "clone", "--quiet", s.Env["ETF_ORIGIN"], l.tree); err != nil {
		return nil, err
	}
	if _, err := git(ctx, l.tree, "checkout", "--quiet", "-b", branch, "v1.2"); err != nil {
		return nil, err
	}
	packages, err := installPackages(ctx, s.Dir, l.path("requirements.txt"))
	if err != nil {
		return nil, err
	}
	wheel := filepath.Join(s.Dir, "etf_shared-1.0-py3-none-any.whl")
	if err := writeWheel(wheel, packages); err != nil {
		return nil, err
	}
	if err := os.WriteFile(l.path("requirements.txt"), []byte(wheel+"\n"), 0o644); err != nil {
		return nil, err
	}
	if _, err := git(ctx, l.tree, "commit", "--quiet", "-a", "-m", "Packages shared by all releases"); err != nil {
		return nil, err
	}
	l.live, err = git(ctx, l.tree, "rev-parse", "HEAD")
	l.head = "0003"
	return l, err
}

// path of a file of the service in the clone.
func (l *releases) path(names ...string) string {
	return filepath.Join(append([]string{l.tree, "src", "backend"}, names...)...)
}

// installPackages makes one virtual environment with the service's packages
// and returns the folder that they lie in.
func installPackages(ctx context.Context, dir, requirements string) (string, error) {
	venv := filepath.Join(dir, "packages")
	for _, argv := range [][]string{
		{"/usr/bin/python3", "-m", "venv", venv},
		{filepath.Join(venv, "bin", "python"), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r", requirements},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("installing the service's packages: %w\n%s", err, out)
		}
	}
	found, err := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("installing the service's packages: %d folders of packages in %s", len(found), venv)
	}
	return found[0], nil
}

// writeWheel writes a package that adds a folder to Python's path.
func writeWheel(file, folder string) error {
	const info = "etf_shared-1.0.dist-info/"
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for _, entry := range [][2]string{
		{"etf_shared.pth", folder + "\n"},
		{info + "METADATA", "Metadata-Version: 2.1\nName: etf-shared\nVersion: 1.0\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: faults\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", "etf_shared.pth,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		part, err := w.Create(entry[0])
		if err == nil {
			_, err = part.Write([]byte(entry[1]))
		}
		if err != nil {
			return err
		}
	}
	return w.Close()
}

// commit returns a commit that is not live: that of an earlier call when it
// was not used up, otherwise a new one on top of the live one.
func (l *releases) commit(ctx context.Context, f flavour) (string, error) {
	if l.next != "" && l.flavours[l.next] == f {
		return l.next, nil
	}
	l.count++
	revision := fmt.Sprintf("f%04d", l.count)
	column := fmt.Sprintf("extra_%04d", l.count)
	if _, err := git(ctx, l.tree, "reset", "--quiet", "--hard", l.live); err != nil {
		return "", err
	}
	edits := map[string]func(string) string{
		"app/__init__.py": func(s string) string { return strings.Replace(s, `"1.2`, fmt.Sprintf(`"1.2.%d`, l.count), 1) },
	}
	if f == code {
		revision = l.head
	} else {
		edits["app/models/etf.py"] = func(s string) string { return s + "    " + column + ": Mapped[str | None]\n" }
		edits["alembic/versions/"+revision+"_"+column+".py"] = func(string) string { return migration(f, revision, l.head, column) }
	}
	for file, edit := range edits {
		old, _ := os.ReadFile(l.path(file))
		if err := os.WriteFile(l.path(file), []byte(edit(string(old))), 0o644); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{{"add", "-A"}, {"commit", "--quiet", "-m", "Answer the " + column + " of ETFs"}, {"push", "--quiet", "--force", "origin", branch}} {
		if _, err := git(ctx, l.tree, args...); err != nil {
			return "", err
		}
	}
	hash, err := git(ctx, l.tree, "rev-parse", "HEAD")
	l.next, l.heads[hash], l.flavours[hash] = hash, revision, f
	return hash, err
}

func migration(f flavour, revision, down, column string) string {
	declaration, more := "", ""
	if f == expand {
		declaration = "# compatibility: expand\n"
	}
	if f == slow {
		more = "    op.execute(\"SELECT pg_sleep(3)\")\n"
	}
	if f == data || f == slow {
		more += fmt.Sprintf("    op.execute(\"UPDATE etfs SET %s = name\")\n", column)
	}
	return fmt.Sprintf(`"""ETFs know their %[3]s"""
%[4]s
import sqlalchemy as sa
from alembic import op

revision = "%[1]s"
down_revision = "%[2]s"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("etfs", sa.Column("%[3]s", sa.String(), nullable=True))
%[5]s

def downgrade() -> None:
    op.drop_column("etfs", "%[3]s")
`, revision, down, column, declaration, more)
}

// isLive says that a commit is live: further ones are built on it.
func (l *releases) isLive(commit string) {
	if commit != l.live {
		l.live, l.head, l.next = commit, l.heads[commit], ""
	}
}

// unsure is the commit to deploy when it is not known which one is live.
func (l *releases) unsure() string {
	if l.next != "" {
		return l.next // if the database has its migration, nothing else goes
	}
	return l.live
}

// drop forgets the commit that was not deployed: the next one is new, so that
// it has to be fetched and installed.
func (l *releases) drop() { l.next = "" }
