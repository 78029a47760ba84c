package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A MismatchError says in what a dump is not what its manifest says.
type MismatchError struct {
	File   string
	What   string   // "missing", "size", "checksum", "format", "contents", "rows" or "schema"
	Detail []string // one line each
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("verifying dump %s: %s: %s: it is not the dump that its manifest describes", e.File, e.What, strings.Join(e.Detail, "; "))
}

// VerifyOptions are those of VerifyDump; the zero value will do.
type VerifyOptions struct {
	BinDir   string                  // of pg_restore; empty: looked for
	Progress func(done, total int64) // rows read; nil: not reported
}

// VerifyDump proves that file is the dump that info describes: its size and
// checksum, an entry with data for every table, and the rows of every table,
// counted in the dump itself, which is read, unpacked, to its end. A
// difference is a *MismatchError.
func VerifyDump(ctx context.Context, h host.Host, file string, info DumpInfo, o VerifyOptions) error {
	ctx, cancel := withDeadline(ctx, longTimeout)
	defer cancel()
	mismatch := func(what string, detail ...string) error {
		return &MismatchError{File: file, What: what, Detail: detail}
	}
	sum, size, err := Checksum(ctx, h, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return mismatch("missing", "there is no such file")
	case err != nil:
		return wrap("verifying dump "+file, err)
	case size != info.Size:
		return mismatch("size", fmt.Sprintf("%d bytes, not %d", size, info.Size))
	case sum != info.SHA256:
		return mismatch("checksum", "sha256 "+sum+", not "+info.SHA256)
	}
	program, _, err := Tool(ctx, h, "pg_restore", o.BinDir, majorOf(info.ToolVersion))
	if err != nil {
		return wrap("verifying dump "+file, err)
	}
	list, err := h.Run(ctx, host.Command{Argv: []string{program, "--list", file}, Timeout: remaining(ctx)})
	if err != nil {
		return toolError(file, err)
	}
	if missing := missingEntries(string(list.Stdout), info.Rows); len(missing) > 0 {
		return mismatch("contents", "no data of "+strings.Join(missing, ", "))
	}
	counter := &copyCounter{}
	_, err = h.Run(ctx, host.Command{
		Argv:   []string{program, "--data-only", "--file=-", file},
		Stdout: &reportingCounter{copyCounter: counter, total: info.Total(), report: o.Progress}, Timeout: remaining(ctx),
	})
	if err != nil {
		return toolError(file, err)
	}
	if counter.inside {
		return mismatch("rows", "the data of "+counter.table+" do not end")
	}
	if diff := DiffRows(info.Rows, counter.rows); len(diff) > 0 {
		return mismatch("rows", diff...)
	}
	return nil
}

// toolError tells a dump that pg_restore cannot read from a command that did
// not get to its end.
func toolError(file string, err error) error {
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Code > 0 {
		return &MismatchError{File: file, What: "format", Detail: []string{exit.Error()}}
	}
	return wrap("verifying dump "+file, err)
}

// missingEntries names the tables for which the table of contents has no
// data. Its lines read "3456; 0 16390 TABLE DATA public etf_prices etf_owner".
func missingEntries(list string, rows map[string]int64) (missing []string) {
	var entries []string
	for line := range strings.Lines(list) {
		if _, entry, ok := strings.Cut(line, " TABLE DATA "); ok && !strings.HasPrefix(line, ";") {
			entries = append(entries, entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		schema, table, _ := strings.Cut(name, ".")
		want := schema + " " + table + " "
		if !slices.ContainsFunc(entries, func(e string) bool { return strings.HasPrefix(e, want) }) {
			missing = append(missing, name)
		}
	}
	return missing
}

// DiffRows says, a line a table, where two counts of rows differ.
func DiffRows(want, got map[string]int64) (diff []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		n, ok := got[name]
		switch {
		case !ok:
			diff = append(diff, fmt.Sprintf("%s is missing, it should have %d rows", name, want[name]))
		case n != want[name]:
			diff = append(diff, fmt.Sprintf("%s has %d rows, not %d", name, n, want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			diff = append(diff, fmt.Sprintf("%s should not be there, it has %d rows", name, got[name]))
		}
	}
	return diff
}

// A reportingCounter reports the rows read, once every few megabytes.
type reportingCounter struct {
	*copyCounter
	total, bytes int64
	report       func(done, total int64)
}

func (c *reportingCounter) Write(p []byte) (int, error) {
	if c.bytes += int64(len(p)); c.report != nil && c.bytes > 8<<20 {
		c.bytes = 0
		done := max(0, c.n)
		if !c.inside {
			done = 0
		}
		for _, n := range c.rows {
			done += n
		}
		c.report(done, max(c.total, done))
	}
	return c.copyCounter.Write(p)
}
