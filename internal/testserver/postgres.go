package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a running PostgreSQL server whose superuser is postgres.
type Postgres struct {
	Port     int
	Password string // of postgres
	Bin      string // folder of its programs
	Data     string // its data directory
	p        *process
}

// URL is the libpq address of a database for the superuser.
func (s *Postgres) URL(database string) string {
	return s.UserURL("postgres", s.Password, database)
}

// UserURL is the libpq address of a database for some role.
func (s *Postgres) UserURL(user, password, database string) string {
	return fmt.Sprintf("postgresql://%s:%s@127.0.0.1:%d/%s?sslmode=disable", user, password, s.Port, database)
}

// Stop ends the server.
func (s *Postgres) Stop() { s.p.stop() }

// PID is that of the server.
func (s *Postgres) PID() int { return s.p.cmd.Process.Pid }

// StartPostgres makes a cluster under dir and starts its server, tuned for
// tests (nothing is synced to the disk).
func StartPostgres(dir string, settings ...string) (*Postgres, error) {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(bins) == 0 {
		return nil, errors.New("no /usr/lib/postgresql/*/bin/postgres: install the packages that the tests need (go tool mage test does)")
	}
	dir, err := mkdir(dir, "postgres")
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		if attr, err = asPostgres(dir); err != nil {
			return nil, err
		}
	}
	s := &Postgres{Password: "super-secret-1", Bin: filepath.Dir(bins[len(bins)-1]), Data: filepath.Join(dir, "data")}
	if err := s.initdb(dir, attr); err != nil {
		return nil, err
	}
	if s.Port, err = Port(); err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(s.Bin, "postgres"), "-D", s.Data, "-p", strconv.Itoa(s.Port), "-k", dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=40")
	for _, setting := range settings {
		cmd.Args = append(cmd.Args, "-c", setting)
	}
	cmd.Dir, cmd.SysProcAttr = dir, attr
	if s.p, err = start(cmd, filepath.Join(dir, "log"), syscall.SIGINT); err != nil {
		return nil, err
	}
	return s, s.p.await("postgres", time.Minute, s.mine)
}

// asPostgres has the server, which refuses root, run as the packages' user.
func asPostgres(dir string) (*syscall.SysProcAttr, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		AmbientCaps: []uintptr{2}, // CAP_DAC_READ_SEARCH: the folders above may be closed to others
	}, os.Chown(dir, uid, gid)
}

func (s *Postgres) initdb(dir string, attr *syscall.SysProcAttr) error {
	pw := filepath.Join(dir, "password")
	if err := os.WriteFile(pw, []byte(s.Password), 0o644); err != nil {
		return err
	}
	defer os.Remove(pw)
	cmd := exec.Command(filepath.Join(s.Bin, "initdb"), "-D", s.Data, "-U", "postgres", "--pwfile", pw,
		"-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	cmd.Dir, cmd.SysProcAttr = dir, attr
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// mine fails unless the server that answers is this one: an open port alone
// may be somebody else's.
func (s *Postgres) mine() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var data string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data); err != nil {
		return err
	}
	if data != s.Data {
		return fmt.Errorf("port %d belongs to the server of %s", s.Port, data)
	}
	return nil
}
