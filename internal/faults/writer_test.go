package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

// A writer commits numbered rows all the while, as the service's own role and
// through the API, and remembers which were acknowledged.
type writer struct {
	env, api string // the service's .env; the API's URL
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu    sync.Mutex
	acked map[string]time.Time // by the row's name
}

// How often it writes.
const (
	everyRow    = 250 * time.Millisecond
	everyUpdate = 3 * time.Second
)

func startWriter(s *stack.Stack) *writer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{
		env: filepath.Join(s.Env["ETF_ROOT"], "shared", ".env"), api: s.Env["ETF_API_URL"],
		cancel: cancel, acked: map[string]time.Time{},
	}
	w.wg.Go(func() { w.writeRows(ctx) })
	w.wg.Go(func() { w.askForUpdates(ctx) })
	return w
}

func (w *writer) stop() {
	w.cancel()
	w.wg.Wait()
}

func (w *writer) acknowledged(row string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked[row] = time.Now()
}

// rows returns what was acknowledged until now.
func (w *writer) rows() map[string]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]time.Time{}
	for row, at := range w.acked {
		all[row] = at
	}
	return all
}

// forget drops what was written until now: a cell that lost some has said so.
func (w *writer) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.acked)
}

// accounted drops rows that were found in a database that goes now.
func (w *writer) accounted(rows []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, row := range rows {
		delete(w.acked, row)
	}
}

// writeRows inserts row after row, on a new session after every error. A row
// whose insertion failed may be there or not; its number is not used again.
func (w *writer) writeRows(ctx context.Context) {
	var conn *pgx.Conn
	for n := 1; ctx.Err() == nil; n++ {
		if conn == nil {
			conn = w.connect(ctx)
		}
		if conn != nil {
			row := fmt.Sprintf("row %d", n)
			limited, cancel := context.WithTimeout(ctx, 20*time.Second)
			_, err := conn.Exec(limited, `insert into etf_errors (etf_id, error_type, date, resolved, context)
				select min(id), $1, current_date, true, 'written while releases are deployed' from etfs`, row)
			cancel()
			if err == nil {
				w.acknowledged(row)
			} else {
				conn.Close(ctx)
				conn = nil
			}
		}
		pause(ctx, everyRow)
	}
	if conn != nil {
		conn.Close(context.Background())
	}
}

// connect opens a session as the service does; nil when it cannot.
func (w *writer) connect(ctx context.Context) *pgx.Conn {
	content, err := os.ReadFile(w.env)
	if err != nil {
		return nil
	}
	env, err := config.ParseEnv(content)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, strings.Replace(env["DATABASE_URL"], "postgresql+psycopg", "postgresql", 1))
	if err != nil {
		return nil
	}
	return conn
}

// askForUpdates has the API note and start an update again and again.
func (w *writer) askForUpdates(ctx context.Context) {
	client := &http.Client{Timeout: 10 * time.Second}
	for n := 1; ctx.Err() == nil; n++ {
		row := fmt.Sprintf("update %d", n)
		path := "/api/v1/etf/E0000.DE/update?update_type=prices_only&notes=" + url.QueryEscape(row)
		if res, err := client.Post(w.api+path, "", nil); err == nil {
			var accepted struct {
				ID int64 `json:"update_id"`
			}
			err := json.NewDecoder(res.Body).Decode(&accepted)
			res.Body.Close()
			if err == nil && res.StatusCode == http.StatusAccepted && accepted.ID != 0 {
				w.acknowledged(row)
			}
		}
		pause(ctx, everyUpdate)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
