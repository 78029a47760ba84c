package stack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// UnderLoad asks the API without a break, from several sides, while f runs,
// and returns how many answers there were and the first that failed. Half of
// the askers keep their connection, as browsers do.
func (s *Stack) UnderLoad(t testing.TB, f func()) (answers int, failed []error) {
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
