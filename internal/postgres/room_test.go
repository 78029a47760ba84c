package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A roomyHost is this machine with other figures for its disks.
type roomyHost struct {
	host.Local
	free   map[string]int64 // by folder; others are this machine's
	hidden string           // the end of the files of /proc that it does not show
	asked  string           // the folder that was last asked for
}

func (h *roomyHost) FreeBytes(ctx context.Context, path string) (int64, error) {
	h.asked = path
	if n, ok := h.free[path]; ok {
		return n, nil
	}
	return h.Local.FreeBytes(ctx, path)
}

func (h *roomyHost) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if h.hidden != "" && strings.HasSuffix(path, h.hidden) {
		return nil, fs.ErrPermission
	}
	return h.Local.ReadFile(ctx, path)
}

func (h *roomyHost) Readlink(ctx context.Context, path string) (string, error) {
	if h.hidden != "" && strings.HasSuffix(path, h.hidden) {
		return "", fs.ErrPermission
	}
	return h.Local.Readlink(ctx, path)
}

func TestRoomNeeded(t *testing.T) {
	u := newDatabase(t, "room")
	admin := connect(t, superuser(u.Database))
	exec(t, admin, "GRANT pg_read_all_settings TO etf_owner")
	defer exec(t, connect(t, superuser("postgres")), "REVOKE pg_read_all_settings FROM etf_owner")
	const MB = 1 << 20
	for _, test := range []struct {
		name             string
		size, free, need int64
	}{
		{"a small one", 8 * MB, 5, (8 + 8 + 64) * MB},
		{"one whose log is let go in between", 5000 * MB, 9000 * MB, (5000 + 1024) * MB}, // max_wal_size is 1GB
	} {
		h := &roomyHost{free: map[string]int64{server.Data: test.free}}
		need, free, err := Room(t.Context(), h, u, DumpInfo{DatabaseSize: test.size}, "test")
		if need != test.need || free != test.free || err != nil {
			t.Errorf("%s: need %d, free %d, %v", test.name, need, free, err)
		}
	}
}

// The room counts where the database lies, also when that is a disk of its own.
func TestRoomOfATablespace(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "tablespace-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Geteuid() == 0 {
		if _, err := (host.Local{}).Run(t.Context(), host.Command{Argv: []string{"chown", "postgres", dir}}); err != nil {
			t.Fatal(err)
		}
	}
	u := newDatabase(t, "room")
	admin := connect(t, superuser("postgres"))
	exec(t, admin, "CREATE TABLESPACE shm LOCATION '"+dir+"'")
	defer exec(t, connect(t, superuser("postgres")), "DROP TABLESPACE shm")
	exec(t, admin, "ALTER DATABASE "+u.Database+" SET TABLESPACE shm")
	defer exec(t, connect(t, superuser("postgres")), "ALTER DATABASE "+u.Database+" SET TABLESPACE pg_default")
	h := &roomyHost{}
	_, free, err := Room(t.Context(), h, u, DumpInfo{}, "test")
	shm, shmErr := host.Local{}.FreeBytes(t.Context(), "/dev/shm")
	if err != nil || shmErr != nil || h.asked != dir || free < shm-64<<20 || free > shm+64<<20 {
		t.Errorf("%d free on %s, %v; %d on /dev/shm, %v", free, h.asked, err, shm, shmErr)
	}
}

// What cannot be seen is an error of its own, never a pass.
func TestRoomThatIsNotSeen(t *testing.T) {
	u := newDatabase(t, "room")
	info := DumpInfo{DatabaseSize: 1 << 30}
	for _, test := range []struct{ name, hidden, want string }{
		{"no process of the server", "/cmdline", "does not run on"},
		{"no folder of the server", "/cwd", "GRANT pg_read_all_settings TO"},
	} {
		need, _, err := Room(t.Context(), &roomyHost{hidden: test.hidden}, u, info, "test")
		if !errors.Is(err, ErrRoomNotSeen) || !strings.Contains(err.Error(), test.want) || need < info.DatabaseSize {
			t.Errorf("%s: need %d, %v", test.name, need, err)
		}
	}
	if os.Geteuid() == 0 { // root sees the folder of every process
		h := &roomyHost{}
		if _, free, err := Room(t.Context(), h, u, info, "test"); err != nil || h.asked != server.Data || free == 0 {
			t.Errorf("asked for %q: %v", h.asked, err)
		}
	}
	u.Database = "none"
	if _, _, err := Room(t.Context(), &roomyHost{}, u, info, "test"); !errors.Is(err, ErrNoDatabase) || errors.Is(err, ErrRoomNotSeen) {
		t.Errorf("without the live database: %v", err)
	}
}
