// Package rollback tells the story of rollbacks, immediate and gradual, with
// the compiled program on a sandbox of its own.
package rollback

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

var theStack *stack.Stack

func TestMain(m *testing.M) {
	os.Exit(stack.With(8, func(s *stack.Stack) int {
		theStack = s
		return m.Run()
	}))
}

// TestRollback goes forwards and back again; each part finds what the one
// before has left.
func TestRollback(t *testing.T) {
	s := theStack
	s.Mage(t, 0, "deploy", "-ref=v1.1")
	s.Mage(t, 0, "deploy", "-ref=v1.2")
	s.Mage(t, 0, "sandbox:release", "feature")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *stack.Stack)
	}{
		{"bad input", badInput},
		{"a migration that nobody used is downgraded under the running API", downgrade},
		{"a backup that is not what it was is refused before anything stops", badBackups},
		{"a killed restore leaves nothing that is in the way", killedRestore},
		{"what was written since is shown, and kept", restoreKeeps},
		{"what was written since is carried over", restoreCarries},
		{"a rollback of a rollback", rollbackOfRollback},
		{"corrupted rows are repaired while the API answers", gradual},
		{"rows chosen by hand", byHand},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, s) }) {
			t.Fatal("the parts to come build on this one")
		}
	}
}

// query reads one value from the live database, or another one.
func query[T any](t *testing.T, s *stack.Stack, database, sql string, args ...any) (value T) {
	t.Helper()
	conn := connect(t, s, database)
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func exec(t *testing.T, s *stack.Stack, sql string) {
	t.Helper()
	conn := connect(t, s, "")
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func connect(t *testing.T, s *stack.Stack, database string) *pgx.Conn {
	t.Helper()
	c, err := pgx.ParseConfig(s.Env["ETF_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	if database != "" {
		c.Database = database
	}
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// post asks the API to make something.
func post(t *testing.T, s *stack.Stack, path string, body any) map[string]any {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	res, err := client.Post(s.Env["ETF_API_URL"]+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, path, res)
}

func get(t *testing.T, s *stack.Stack, path string) map[string]any {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	res, err := client.Get(s.Env["ETF_API_URL"] + path)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, path, res)
}

func answerOf(t *testing.T, path string, res *http.Response) map[string]any {
	t.Helper()
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s: %s, %v, %v", path, res.Status, answer, err)
	}
	return answer
}

// update runs one through the service and waits until it has ended.
func update(t *testing.T, s *stack.Stack, etf, kind string) {
	t.Helper()
	id := post(t, s, "/api/v1/etf/"+etf+"/update?update_type="+kind, nil)["update_id"]
	state := ""
	s.Await(t, time.Minute, fmt.Sprintf("update %v of %s", id, etf), func() bool {
		state = query[string](t, s, "", "select status from etf_updates where id = $1", int64(id.(float64)))
		return state != "pending" && state != "processing"
	})
	if state != "completed" && state != "completed_with_errors" {
		t.Errorf("update %v of %s ended as %s", id, etf, state)
	}
}

// plan is what rollback:plan says.
func plan(t *testing.T, s *stack.Stack) (p struct {
	To      struct{ Commit, Ref string }
	Path    string
	Reasons []string
	Backup  struct{ ID string }
	Written struct {
		Tables []struct {
			Table                   string
			Added, Changed, Deleted int64
		}
	}
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.Mage(t, 0, "rollback:plan", "-json").Stdout), &p); err != nil {
		t.Fatal(err)
	}
	return p
}
