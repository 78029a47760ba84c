// Package etfservice holds the small ETF service that the sandbox deploys, and makes its git origin.
//
// The service is written in Python and embedded as files: releases/1.0 is the whole of the first
// release, each later folder holds what that release adds or replaces. Releases to practise with are
// made from the last good one by the edits in kinds.go and the migrations below kinds/.
package etfservice

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

// The folder of the service in its repository; Alembic and the application are relative to it.
const backend = "src/backend/"

var (
	//go:embed all:releases
	releases embed.FS

	//go:embed kinds
	kindFiles embed.FS

	//go:embed releases/1.0/src/backend/alembic/sql/0001_base.sql
	baseSchema string

	//go:embed pricesource.py
	priceSource []byte
)

// BaseSchema returns the SQL of the schema of release 1.0: plain statements, each ended by a semicolon
// at the end of a line. Migration 0001 executes the same file.
func BaseSchema() string { return baseSchema }

// PriceSource returns the Python program that answers for prices and rates:
// /usr/bin/python3 pricesource.py PORT. It needs nothing but the standard library.
func PriceSource() []byte { return append([]byte(nil), priceSource...) }

// file is one file of a commit.
type file struct {
	path string // relative to the repository's top
	data []byte
}

// mode is git's: what lies in a bin folder can be executed. Embedding keeps no file modes.
func (f file) mode() string {
	if strings.Contains(f.path, "/bin/") {
		return "100755"
	}
	return "100644"
}

// releaseFiles returns what a release adds or replaces, in the order of the paths.
func releaseFiles(version string) ([]file, error) {
	top := "releases/" + version
	var files []file
	err := fs.WalkDir(releases, top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := releases.ReadFile(path)
		files = append(files, file{strings.TrimPrefix(path, top+"/"), data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the embedded release: %s: %w", version, err)
	}
	return files, nil
}
