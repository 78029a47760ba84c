package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

func TestParseURL(t *testing.T) {
	for _, test := range []struct{ in, want, dsn string }{
		{"postgresql://u:p%40ss%2Fword@db.example:5433/gold?sslmode=require", "postgresql://u@db.example:5433/gold", "postgresql://u:p%40ss%2Fword@db.example:5433/gold?sslmode=require"},
		{"postgresql+psycopg://u:pass@db/gold", "postgresql://u@db:5432/gold", "postgresql://u:pass@db:5432/gold"},
		{"postgres://u:pass@[::1]:5433/gold", "postgresql://u@[::1]:5433/gold", "postgresql://u:pass@[::1]:5433/gold"},
		{"postgresql://u:pass@/gold?host=/run/pg", "postgresql://u@/run/pg/gold", "postgresql://u:pass@/gold?host=%2Frun%2Fpg&port=5432"},
		{"postgresql+asyncpg://u:pass@/gold?host=/run/pg&port=5433&ssl=require&sslmode=disable", "postgresql://u@/run/pg/gold", "postgresql://u:pass@/gold?host=%2Frun%2Fpg&port=5433&sslmode=disable"},
	} {
		u, err := ParseURL(test.in)
		if err != nil || u.String() != test.want || u.DSN() != test.dsn {
			t.Errorf("ParseURL(%q) = %s, %s, %v", test.in, u, u.DSN(), err)
		}
	}
	for _, bad := range []string{"", "mysql://u:hidden-word@h/d", "postgresql://u:hidden-word@h:0/d", "postgresql://u:hidden-word@h:x/d", "postgresql://:hidden-word@h/d",
		"postgresql://u:hidden-word@h/", "postgresql://u:hidden-word@h", "postgresql://u:hidden-word@a,b/d", "postgresql://u:hidden-word%zz@h/d", "host=h password=hidden-word"} {
		if _, err := ParseURL(bad); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("ParseURL(%q): %v", bad, err)
		}
	}
}

func TestConnectErrorsAreToldApart(t *testing.T) {
	admin := connect(t, superuser("postgres"))
	exec(t, admin, "CREATE ROLE limited LOGIN PASSWORD 'limited-pw' CONNECTION LIMIT 0")
	closed := newDatabase(t, "closed")
	exec(t, connect(t, owner("postgres")), openSQL(closed.Database, false))
	port, err := testserver.Port()
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	change := func(f func(*URL)) URL { u := owner("postgres"); f(&u); return u }
	for _, test := range []struct {
		name string
		url  URL
		want error
	}{
		{"wrong password", change(func(u *URL) { u.Password = "wrong-password" }), ErrLogin},
		{"unknown role", change(func(u *URL) { u.User = "nobody" }), ErrLogin},
		{"missing database", owner("nowhere"), ErrNoDatabase},
		{"closed database", closed, ErrNotAccepting},
		{"no connection left", change(func(u *URL) { u.User, u.Password = "limited", "limited-pw" }), ErrFull},
		{"closed port", change(func(u *URL) { u.Port = port }), ErrUnreachable},
		{"silent server", change(func(u *URL) { u.Port = silent.Addr().(*net.TCPAddr).Port }), ErrUnreachable},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := Connect(ctx, host.Local{}, test.url, "test")
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.url.String()) {
				t.Errorf("Connect: %v, want %v", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "wrong-password") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func superuser(database string) URL {
	u, err := ParseURL(server.URL(database))
	if err != nil {
		panic(err)
	}
	return u
}

func TestSessions(t *testing.T) {
	u := newDatabase(t, "sessions")
	conn := connect(t, u, "watcher-")
	a, b := connect(t, u, "op7-a-"), connect(t, u, "op7-b-")
	app := u
	app.User, app.Password = "etf_app", appPassword
	c := connect(t, app, "etf_service-")
	exec(t, conn, "CREATE TABLE x (n int); INSERT INTO x VALUES (1)")
	exec(t, a, "BEGIN; UPDATE x SET n = 2")
	done := make(chan error, 1)
	go func() { _, err := b.Exec(context.Background(), "UPDATE x SET n = 3"); done <- err }()
	for deadline := time.Now().Add(5 * time.Second); ; {
		all, err := Sessions(t.Context(), conn, "op7-")
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 2 && len(all[1].BlockedBy) == 1 {
			if all[0].State != "idle in transaction" || all[0].Transaction <= 0 || all[0].Query != 0 || all[1].BlockedBy[0] != all[0].PID ||
				!strings.HasPrefix(all[1].Wait, "Lock:") || all[1].Database != u.Database || all[1].User != "etf_owner" || all[1].Query <= 0 {
				t.Errorf("sessions = %+v", all)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("sessions = %+v", all)
		}
	}
	if n, err := EndSessions(t.Context(), conn, "op7-"); n != 2 || err != nil {
		t.Errorf("EndSessions = %d, %v", n, err)
	}
	if err := <-done; err == nil {
		t.Error("the blocked statement of an ended session succeeded")
	}
	if service, err := Sessions(t.Context(), conn, "etf_service"); err != nil || len(service) != 1 || service[0].State != "idle" {
		t.Errorf("sessions of the application's role = %+v, %v", service, err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("a session with another name was ended: %v", err)
	}
	if n, err := EndSessions(t.Context(), conn, ""); err == nil {
		t.Errorf("EndSessions with an empty name = %d, nil", n)
	}
}
