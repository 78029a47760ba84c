package postgres

import (
	"context"
	"errors"
	"path"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A hookedHost is this machine and calls before once, before pg_restore runs.
type hookedHost struct {
	host.Local
	before func()
}

func (h *hookedHost) Run(ctx context.Context, c host.Command) (host.Result, error) {
	if path.Base(c.Argv[0]) == "pg_restore" && c.Argv[1] != "--version" && h.before != nil {
		before := h.before
		h.before = nil
		before()
	}
	return h.Local.Run(ctx, c)
}

func TestTryRestore(t *testing.T) {
	u := newDatabase(t, "try")
	fill(t, u, 3000)
	o := restoring(t, u)
	o.Side = ""
	scratch := u.Database + "_proof"
	admin := connect(t, owner("postgres"))
	none := func() {
		t.Helper()
		if scan[bool](t, admin, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = '"+scratch+"')") {
			t.Error("the scratch database is still there")
		}
	}
	// As a run that was killed half-way leaves it.
	if err := createSide(t.Context(), admin, u.Database, scratch); err != nil {
		t.Fatal(err)
	}
	exec(t, connect(t, owner(scratch)), "CREATE TABLE etfs (half int)")
	h := &hookedHost{before: func() {
		if err := TryRestore(t.Context(), host.Local{}, o); !errors.Is(err, ErrScratchBusy) {
			t.Errorf("a second one at the same time: %v", err)
		}
	}}
	if err := TryRestore(t.Context(), h, o); err != nil || h.before != nil {
		t.Fatal(err)
	}
	none()
	o.Info.Rows = map[string]int64{"public.etfs": 11}
	var mismatch *MismatchError
	if err := TryRestore(t.Context(), host.Local{}, o); !errors.As(err, &mismatch) || mismatch.What != "rows" {
		t.Errorf("with another manifest: %v", err)
	}
	none()
}
