package postgres

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// toolRoot is where Debian and Ubuntu keep each major version's programs.
const toolRoot = "/usr/lib/postgresql"

// ErrTool says that the host has no dump tool that is new enough.
var ErrTool = errors.New("no usable PostgreSQL client programs")

var versionWord = regexp.MustCompile(`\d+(\.\d+)*`)

// Tool finds pg_dump or pg_restore on the host: in binDir when that is given,
// else the oldest below /usr/lib/postgresql that is not older than major, else
// the one on the PATH. It returns the program and its version.
func Tool(ctx context.Context, h host.Host, name, binDir string, major int) (program, version string, err error) {
	program = name
	if binDir != "" {
		program = path.Join(binDir, name)
	} else if found := installed(ctx, h, name, major); found != "" {
		program = found
	}
	res, err := h.Run(ctx, host.Command{Argv: []string{program, "--version"}, Timeout: 20 * time.Second})
	if err != nil {
		return "", "", fmt.Errorf("%w: %w: install postgresql-client-%d on %s or name its folder in the configuration", ErrTool, err, major, h)
	}
	version = versionWord.FindString(string(res.Stdout))
	if have := majorOf(version); have < major {
		return "", "", fmt.Errorf("%w: %s has version %s and cannot work with version %d: install postgresql-client-%d on %s or name its folder in the configuration",
			ErrTool, program, version, major, major, h)
	}
	return program, version, nil
}

// installed is the path of the oldest version of the program that will do.
func installed(ctx context.Context, h host.Host, name string, major int) string {
	entries, err := h.List(ctx, toolRoot)
	if err != nil {
		return ""
	}
	var majors []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e); err == nil && n >= major {
			majors = append(majors, n)
		}
	}
	slices.Sort(majors)
	for _, n := range majors {
		program := path.Join(toolRoot, strconv.Itoa(n), "bin", name)
		if _, err := h.Stat(ctx, program); err == nil {
			return program
		}
	}
	return ""
}

// majorOf is 15 for "15.18"; 0 when it is no version.
func majorOf(version string) int {
	n, _ := strconv.Atoi(regexp.MustCompile(`^\d+`).FindString(version))
	return n
}
