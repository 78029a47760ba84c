package acceptance

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

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
