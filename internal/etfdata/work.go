package etfdata

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A job fills in results on one snapshot.
type job interface {
	look(ctx context.Context, conn *pgx.Conn) error
	filled() []*Result
}

// work does the jobs in their order, each on the first of n connections that
// is free. Where the server has no more to give, fewer do.
func work(ctx context.Context, first *link, jobs []job, n int) {
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var wg sync.WaitGroup
	for i := range min(n, len(jobs)) {
		l := first
		if i > 0 {
			l = &link{connect: first.connect}
			defer l.close()
		}
		wg.Go(func() {
			if l != first && l.open(ctx) != nil {
				return
			}
			for j := range queue {
				l.fill(ctx, j)
			}
		})
	}
	wg.Wait()
}

// A link is a connection that is opened when it is needed, and again when it
// was lost.
type link struct {
	connect Connect
	conn    *pgx.Conn
	release func()
}

func (l *link) open(ctx context.Context) (err error) {
	if l.conn != nil && !l.conn.IsClosed() {
		return nil
	}
	l.close()
	if l.conn, l.release, err = l.connect(ctx); err != nil {
		l.conn = nil
	}
	return err
}

func (l *link) close() {
	if l.conn != nil {
		l.release()
	}
	l.conn = nil
}

func (l *link) fill(ctx context.Context, j job) {
	began := time.Now()
	err := l.look(ctx, func(conn *pgx.Conn) error { return j.look(ctx, conn) })
	for _, r := range j.filled() {
		r.Took = time.Since(began)
		if err != nil && r.Err == nil {
			r.Err = fmt.Errorf("looking at %s: %w", r.Looks, err)
		}
	}
}

// look has f see one snapshot, in a transaction that only reads. The server
// ends what takes longer than ctx leaves, also when nobody waits any more.
// Compiling statements (jit) takes longer here than it saves.
func (l *link) look(ctx context.Context, f func(*pgx.Conn) error) (err error) {
	if err := l.open(ctx); err != nil {
		return err
	}
	var limit int64
	if at, ok := ctx.Deadline(); ok {
		limit = max(time.Until(at).Milliseconds(), 1)
	}
	begin := fmt.Sprintf("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off; SET LOCAL statement_timeout = %d", limit)
	if _, err := l.conn.PgConn().Exec(ctx, begin).ReadAll(); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, rolled := l.conn.Exec(ctx, "ROLLBACK"); rolled != nil && err == nil {
			err = rolled
		}
	}()
	return f(l.conn)
}
