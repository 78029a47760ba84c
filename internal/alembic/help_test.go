package alembic

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// installOlder gets the packages that releases of before SQLAlchemy 2 have.
func installOlder(dir string) (string, error) {
	dir = filepath.Join(dir, "older")
	out, err := exec.Command(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", dir,
		"SQLAlchemy>=1.4,<2", "alembic>=1.14,<1.15", "psycopg2-binary>=2.9,<3").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("installing SQLAlchemy 1.4: %w: %s", err, out)
	}
	return dir, err
}

// generations runs a test with the present SQLAlchemy and with 1.4, each with
// its usual driver.
func generations(t *testing.T, f func(t *testing.T, use func(*Options))) {
	t.Run("new", func(t *testing.T) { t.Parallel(); f(t, func(*Options) {}) })
	t.Run("old", func(t *testing.T) {
		t.Parallel()
		f(t, func(o *Options) {
			url := strings.Replace(o.Env[0], "+psycopg:", "+psycopg2:", 1)
			o.Env = append(o.Env, url, "PYTHONPATH="+older)
		})
	})
}

// with is c with other options.
func with(c *Client, change func(*Options)) *Client {
	o := c.o
	change(&o)
	return New(c.h, o)
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// await waits until a query says true.
func await(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var ok bool
		if err := conn.QueryRow(t.Context(), sql).Scan(&ok); err != nil {
			t.Fatal(err)
		} else if ok {
			return
		}
	}
	t.Fatalf("never came: %s", sql)
}

// later runs f beside the test and gives its error when asked.
func later(f func() error) func(t *testing.T) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func(t *testing.T) error {
		t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			t.Fatal("it does not end")
			return nil
		}
	}
}

// lines hands on what is written.
type lines chan string

func (l lines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

func (l lines) await(t *testing.T, want string) {
	t.Helper()
	for said := ""; !strings.Contains(said, want); {
		select {
		case s := <-l:
			said += s
		case <-time.After(20 * time.Second):
			t.Fatalf("%q was never said, but %s", want, said)
		}
	}
}
