package postgres

import (
	"context"
	"io"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// ReadOptions say which rows of a dump are read.
type ReadOptions struct {
	File   string // the dump, on the host
	Info   DumpInfo
	BinDir string // of pg_restore; empty: looked for
	Schema string
	Table  string
}

// ReadTable has pg_restore print the rows of one table to w: a line
// "COPY schema.table (columns) FROM stdin;", the rows in COPY's text format and
// a line "\.", between statements that only matter to psql. A dump that
// pg_restore cannot read is a *MismatchError; also ErrTool.
func ReadTable(ctx context.Context, h host.Host, o ReadOptions, w io.Writer) error {
	ctx, cancel := withDeadline(ctx, longTimeout)
	defer cancel()
	program, _, err := Tool(ctx, h, "pg_restore", o.BinDir, majorOf(o.Info.ToolVersion))
	if err != nil {
		return wrap("reading dump "+o.File, err)
	}
	_, err = h.Run(ctx, host.Command{
		Argv:   []string{program, "--data-only", "--schema=" + o.Schema, "--table=" + o.Table, "--file=-", o.File},
		Stdout: w, Timeout: remaining(ctx),
	})
	if err != nil {
		return toolError(o.File, err)
	}
	return nil
}
