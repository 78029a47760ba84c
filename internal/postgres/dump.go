package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// What of etf_ops does not go into a dump.
//
// The schema itself does: quarantined rows belong to the service and must
// survive a restore. The fence's row does not: a token from the time of the
// dump, come back by a restore, would let in an operation that has been fenced
// off since. Restore takes the fence of the present operation in the new
// database instead. Working tables (etf_ops.work_…) are never worth keeping.
const (
	excludeFence = OpsSchema + ".fence"
	excludeWork  = OpsSchema + ".work_*"
)

// DumpOptions say what is dumped and where to.
type DumpOptions struct {
	URL             URL
	File            string // on the host; must not exist yet; its folder must
	BinDir          string // of pg_dump; empty: looked for
	ApplicationName string
	Progress        func(done, total int64) // rows; nil: not reported
}

// DumpInfo is what a dump's manifest says about it.
type DumpInfo struct {
	File             string           `json:"file"`   // name without its folder
	Size             int64            `json:"size"`   // bytes
	SHA256           string           `json:"sha256"` // of the file, hexadecimal
	Database         string           `json:"database"`
	DatabaseOID      uint32           `json:"database_oid"`
	DatabaseSize     int64            `json:"database_size"` // bytes on the server's disk
	SystemIdentifier string           `json:"system_identifier"`
	ServerVersion    string           `json:"server_version"`
	ToolVersion      string           `json:"tool_version"` // of pg_dump
	Encoding         string           `json:"encoding"`
	Snapshot         string           `json:"snapshot"` // pg_current_snapshot(): xmin:xmax:xip
	AlembicHeads     []string         `json:"alembic_heads"`
	Schema           string           `json:"schema,omitempty"` // Fingerprint, without indexes that were never finished; older manifests have none
	Rows             map[string]int64 `json:"rows"`             // by schema.table, as of the snapshot
	Started          time.Time        `json:"started"`
	Finished         time.Time        `json:"finished"`
}

// ServerMajor is the major version of the server, such as 15.
func (i DumpInfo) ServerMajor() int { return majorOf(i.ServerVersion) }

// Total is the number of rows in all tables.
func (i DumpInfo) Total() (n int64) {
	for _, rows := range i.Rows {
		n += rows
	}
	return n
}

// Dump writes the database as of one moment into o.File (pg_dump's custom
// format, mode 0600) and says what is in it, counted under the same snapshot.
// The file has its name only once it is complete; what an interrupted dump
// leaves is File.part, which the next one replaces. A taken name gives
// fs.ErrExist. Errors of connecting: see Connect; ErrTool.
func Dump(ctx context.Context, h host.Host, o DumpOptions) (info DumpInfo, err error) {
	ctx, cancel := withDeadline(ctx, longTimeout)
	defer cancel()
	defer func() { err = wrap("dumping "+o.URL.String(), err) }()
	if _, err := h.Stat(ctx, o.File); err == nil {
		return info, fmt.Errorf("%s: %w: a finished dump is never overwritten", o.File, fs.ErrExist)
	}
	s, err := beginSnapshot(ctx, h, o.URL, o.ApplicationName)
	if err != nil {
		return info, err
	}
	defer closeConn(ctx, s.conn)
	if err := s.fingerprint(ctx); err != nil {
		return info, err
	}
	info = s.info
	program, version, err := Tool(ctx, h, "pg_dump", o.BinDir, info.ServerMajor())
	if err != nil {
		return info, err
	}
	info.ToolVersion = version

	part := o.File + ".part"
	defer func() {
		if err != nil {
			h.Remove(context.WithoutCancel(ctx), part)
		}
	}()
	// An orphan of a killed run may still write into the file of that name:
	// removing leaves it its own, and ours is closed to others from the start.
	if err := h.Remove(ctx, part); err != nil {
		return info, err
	}
	if err := h.Create(ctx, part, nil, 0o600); err != nil {
		return info, err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return runDump(gctx, h, o, program, part, s, info.Encoding) })
	group.Go(func() (err error) { info.Rows, err = s.count(gctx, h, o); return err })
	if err := group.Wait(); err != nil {
		return info, err
	}
	if info.SHA256, info.Size, err = Checksum(ctx, h, part); err != nil {
		return info, err
	}
	info.Finished = time.Now().UTC()
	if err := h.Rename(ctx, part, o.File); err != nil {
		return info, err
	}
	info.File = o.File[strings.LastIndexByte(o.File, '/')+1:]
	return info, nil
}

func runDump(ctx context.Context, h host.Host, o DumpOptions, program, part string, s *snapshot, encoding string) error {
	stop := watchCopy(ctx, h, o.URL, o.ApplicationName, "COPY TO", s.estimate, o.Progress)
	defer stop()
	_, err := h.Run(ctx, host.Command{
		Argv: []string{program, "--format=custom", "--compress=1", "--snapshot=" + s.exported, "--encoding=" + encoding,
			"--exclude-table-data=" + excludeFence, "--exclude-table-data=" + excludeWork, "--no-password", "--file=" + part},
		Env: o.URL.Env(o.ApplicationName), Timeout: remaining(ctx),
	})
	return err
}

// Checksum has the host read the file once, where it lies.
func Checksum(ctx context.Context, h host.Host, file string) (sum string, size int64, err error) {
	st, err := h.Stat(ctx, file)
	if err != nil {
		return "", 0, err
	}
	res, err := h.Run(ctx, host.Command{Argv: []string{"sha256sum", "--", file}, Timeout: remaining(ctx)})
	if err != nil {
		return "", 0, err
	}
	// A name with a backslash or a line end has a backslash put before the sum.
	sum, _, _ = strings.Cut(strings.TrimPrefix(string(res.Stdout), `\`), " ")
	if len(sum) != 64 {
		return "", 0, fmt.Errorf("sha256sum of %s: printed no checksum", file)
	}
	return sum, st.Size, nil
}
