package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// watchCopy tells progress, about three times a second until stop, how many
// rows the sessions with this application name have copied, as the server
// counts them. What it cannot see it does not report: a dump or a restore
// never fails for its progress.
func watchCopy(ctx context.Context, h host.Host, u URL, applicationName, command string, total int64, progress func(done, total int64)) (stop func()) {
	if progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := Connect(ctx, h, u, applicationName)
		if err != nil {
			return
		}
		defer closeConn(ctx, conn)
		tables := map[[2]uint32]int64{} // by process and table: one at a time each, and gone when copied
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(300 * time.Millisecond):
			}
			rows, err := conn.Query(ctx, `SELECT p.pid, p.relid, p.tuples_processed FROM pg_stat_progress_copy p JOIN pg_stat_activity a USING (pid)
				WHERE a.application_name = $1 AND a.datname = current_database() AND p.command = $2`, applicationName, command)
			if err != nil {
				return
			}
			var pid int32
			var relid uint32
			var n int64
			for rows.Next() {
				if rows.Scan(&pid, &relid, &n) == nil {
					tables[[2]uint32{uint32(pid), relid}] = n
				}
			}
			if rows.Err() != nil {
				return
			}
			var done int64
			for _, n := range tables {
				done += n
			}
			progress(done, max(total, done))
		}
	})
	return func() { cancel(); wg.Wait() }
}
