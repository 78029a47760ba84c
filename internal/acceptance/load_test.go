package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// underLoad asks the API without a break, from several sides, while f runs,
// and returns how many answers there were and the first that failed. Half of
// the askers keep their connection, as browsers do.
func underLoad(t *testing.T, s *stack.Stack, f func()) (answers int, failed []error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 4 {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, page := range []string{"/api/v1/etf/health", "/api/v1/etf?limit=5"} {
					err := get(client, s.Env["ETF_API_URL"]+page)
					mu.Lock()
					answers++
					if err != nil {
						failed = append(failed, fmt.Errorf("%s: %w", time.Now().UTC().Format("15:04:05.000"), err))
					}
					mu.Unlock()
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	f()
	stop()
	wg.Wait()
	return answers, failed
}

func get(client *http.Client, url string) error {
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return nil
}

// startUpdate asks the API for an update and returns its number.
func startUpdate(t *testing.T, s *stack.Stack) int64 {
	t.Helper()
	res, err := http.Post(s.Env["ETF_API_URL"]+"/api/v1/etf/E0000.DE/update?update_type=prices_only", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var accepted struct {
		UpdateID int64 `json:"update_id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&accepted); err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("%s %v", res.Status, err)
	}
	return accepted.UpdateID
}

// updateStatus reads the state of an update from the database.
func updateStatus(t *testing.T, s *stack.Stack, id int64) (state string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.Env["ETF_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "select status from etf_updates where id = $1", id).Scan(&state); err != nil {
		t.Fatal(err)
	}
	return state
}
