package etfservice

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Names in the origin. goodRef is the last release that nothing is wrong with; further releases are
// built on it. Each practice release stays reachable below keptRefs after the branch has moved on.
const (
	mainRef  = "refs/heads/main"
	goodRef  = "refs/etf/good"
	keptRefs = "refs/etf/releases/"
)

// history is what the origin begins with.
var history = []struct {
	version string
	when    time.Time
	message string
}{
	{"1.0", time.Date(2026, 2, 3, 9, 30, 0, 0, time.UTC), "ETF service 1.0\n\nETFs, prices in EUR, updates and exchange rates.\n"},
	{"1.1", time.Date(2026, 4, 14, 13, 5, 0, 0, time.UTC), "Tell prices of several sources apart\n\nA price says where it comes from; one a day and source.\n"},
	{"1.2", time.Date(2026, 6, 9, 10, 45, 0, 0, time.UTC), "List updates by their status\n\nWith an index, built beside the running service.\n"},
}

// CreateOrigin makes the bare repository that releases are fetched from: branch main and the tags v1.0,
// v1.1 and v1.2, the same commits each time. A complete origin is kept as it is, with the releases that
// were added to it; anything else under the name is an error and stays untouched.
func CreateOrigin(ctx context.Context, dir string) error {
	if err := createOrigin(ctx, dir); err != nil {
		return fmt.Errorf("creating the origin: %w", err)
	}
	return nil
}

func createOrigin(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return checkOrigin(ctx, dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// Made aside and renamed when whole, so that an interrupted attempt leaves nothing to be mistaken for one.
	aside := dir + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	if _, err := git(ctx, aside, nil, "init", "--quiet", "--bare", "--template=", "--initial-branch=main"); err != nil {
		return err
	}
	s := newStream()
	from := ""
	for i, release := range history {
		files, err := releaseFiles(release.version)
		if err != nil {
			return err
		}
		s.commit(mainRef, i+1, from, release.message, release.when, files)
		from = fmt.Sprintf(":%d", i+1)
		s.reset("refs/tags/v"+release.version, from)
	}
	s.reset(goodRef, from)
	if _, err := s.run(ctx, aside); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder
		return err
	}
	return os.Rename(aside, dir)
}

// checkOrigin says whether everything that CreateOrigin makes is there and can be read.
func checkOrigin(ctx context.Context, dir string) error {
	out, err := git(ctx, dir, nil, "for-each-ref", "--format=%(refname)")
	if err == nil {
		_, err = git(ctx, dir, nil, "rev-list", "--objects", "--all", "--quiet")
	}
	if err != nil {
		return fmt.Errorf("%s exists, but is no repository that can be read; remove it: %w", dir, err)
	}
	refs := strings.Fields(string(out))
	wanted := []string{mainRef, goodRef}
	for _, release := range history {
		wanted = append(wanted, "refs/tags/v"+release.version)
	}
	for _, ref := range wanted {
		if !slices.Contains(refs, ref) {
			return fmt.Errorf("%s exists, but %s is missing in it; remove it", dir, ref)
		}
	}
	return nil
}
