package postgres

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// swapped swaps a pair and gives the options that swap it back, by a later
// operation under a fence of its own.
func swapped(t *testing.T) (there, back SwapOptions) {
	t.Helper()
	there = pair(t)
	exec(t, connect(t, owner("postgres")), "COMMENT ON DATABASE "+there.URL.Database+" IS 'the live one'")
	if err := Swap(t.Context(), host.Local{}, there); err != nil {
		t.Fatal(err)
	}
	back = there
	back.Side, back.Kept, back.Token, back.Operation, back.ApplicationName, back.Reason = there.Kept, there.Side, 8, "op-8", "op-8", "the rollback was taken back"
	conn, err := Connect(t.Context(), host.Local{}, there.URL, "setup")
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(t.Context(), conn)
	if err := TakeFence(t.Context(), conn, 8, "op-8"); err != nil {
		t.Fatal(err)
	}
	return there, back
}

// assertSwappedBack looks at everything that a swap there and back leaves.
func assertSwappedBack(t *testing.T, o SwapOptions) {
	t.Helper()
	if live, kept := what(t, o.URL.Database), what(t, o.Kept); live != "live" || kept != "side" {
		t.Errorf("after swapping back the live name holds %s, the kept one %s", live, kept)
	}
	admin := connect(t, owner("postgres"))
	if got := scan[string](t, admin, "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '"+o.URL.Database+"'"); got != "the live one" {
		t.Errorf("comment of the live database: %q", got)
	}
	kept := keptOf(t, admin, o.URL.Database, o.Side, o.Kept)
	if len(kept) != 1 || kept[0].Name != o.Kept || kept[0].Side || kept[0].Operation != o.Operation || kept[0].Reason != o.Reason {
		t.Errorf("kept: %+v", kept)
	}
	for _, name := range []string{o.URL.Database, o.Kept} {
		if err := WithFence(t.Context(), connect(t, owner(name)), o.Token, func(pgx.Tx) error { return nil }); err != nil {
			t.Errorf("fence of %s: %v", name, err)
		}
	}
}

// A database that was replaced is put back in its place by swapping it with
// the one that replaced it, which is then the kept one.
func TestSwapBack(t *testing.T) {
	there, back := swapped(t)
	if err := Swap(t.Context(), host.Local{}, back); err != nil {
		t.Fatal(err)
	}
	assertSwappedBack(t, back)
	// And once more: what was restored becomes the live one again.
	there.Token, there.Operation, there.Reason = 8, "op-8", "again"
	if err := Swap(t.Context(), host.Local{}, there); err != nil {
		t.Fatal(err)
	}
	assertSwapped(t, there)
}

func TestSwapBackKilledAnywhere(t *testing.T) {
	finished, n := false, 0
	for ; !finished; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			_, back := swapped(t)
			finished = swapKilledAt(t, back, n)
			assertSwappedBack(t, back)
		})
	}
	if n < 13 {
		t.Errorf("only %d statements were tried", n)
	}
}
