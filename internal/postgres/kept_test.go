package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// keptOf lists what is kept of the databases with these names.
func keptOf(t *testing.T, conn Querier, names ...string) []KeptDatabase {
	t.Helper()
	all, err := Kept(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(k KeptDatabase) bool { return !slices.Contains(names, k.Name) })
}

func TestKeptAfterASwap(t *testing.T) {
	o := pair(t)
	o.Reason = "replaced by backup b-1: it's a test, by hand"
	admin := connect(t, owner("postgres"))
	names := []string{o.URL.Database, o.Side, o.Kept}
	exec(t, admin, "COMMENT ON DATABASE "+o.URL.Database+" IS 'not "+keptMark+"'")
	if got := keptOf(t, admin, names...); len(got) > 0 {
		t.Errorf("before the swap: %+v", got)
	}
	if err := Swap(t.Context(), host.Local{}, o); err != nil {
		t.Fatal(err)
	}
	got := keptOf(t, admin, names...)
	if len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	k := got[0]
	if k.Name != o.Kept || k.Side || k.Operation != "op-7" || k.Reason != o.Reason || time.Since(k.When) > time.Minute || k.Bytes < 1<<20 || k.InUse {
		t.Errorf("got %+v", k)
	}
	user := connect(t, owner(o.Kept))
	if got := keptOf(t, admin, o.Kept); len(got) != 1 || !got[0].InUse {
		t.Errorf("with a session in it: %+v", got)
	}
	closeConn(t.Context(), user)
}

func TestKeptSideDatabases(t *testing.T) {
	u := newDatabase(t, "kept")
	fill(t, u, 100)
	file, info := dump(t, u)
	side := newDatabase(t, "side").Database
	if err := DropSide(t.Context(), host.Local{}, owner(side), "test"); err != nil {
		t.Fatal(err)
	}
	if err := Restore(t.Context(), host.Local{}, RestoreOptions{URL: u, File: file, Info: info, Side: side, ApplicationName: "test", Operation: "op-3", Token: 3}); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, owner("postgres"))
	if got := keptOf(t, admin, side); len(got) != 1 || !got[0].Side || got[0].Operation != "op-3" || !got[0].Complete || time.Since(got[0].When) > time.Minute || got[0].Bytes < 1<<20 ||
		!got[0].Holds(info) || got[0].Holds(DumpInfo{SHA256: strings.Repeat("0", 64)}) {
		t.Errorf("one that is complete: %+v", got)
	}
	if err := DropSide(t.Context(), host.Local{}, owner(side), "test"); err != nil {
		t.Fatal(err)
	}
	// What a kill in the middle leaves.
	if err := createSide(t.Context(), admin, u.Database, side); err != nil {
		t.Fatal(err)
	}
	if got := keptOf(t, admin, side); len(got) != 1 || !got[0].Side || got[0].Operation != "" || got[0].Complete || time.Since(got[0].When) > time.Minute {
		t.Errorf("one that is half done: %+v", got)
	}
	exec(t, admin, "COMMENT ON DATABASE "+side+" IS '"+keptMark+"by hand'")
	if got := keptOf(t, admin, side); len(got) != 1 || got[0].Side || got[0].Reason != "by hand" {
		t.Errorf("one with another comment: %+v", got)
	}
	// Of a database that this role may not enter the size is not known.
	exec(t, connect(t, superuser("postgres")), "REVOKE CONNECT ON DATABASE "+side+" FROM PUBLIC; ALTER DATABASE "+side+" OWNER TO postgres")
	if got := keptOf(t, admin, side); len(got) != 1 || got[0].Bytes != 0 {
		t.Errorf("one that is somebody else's: %+v", got)
	}
	exec(t, connect(t, superuser("postgres")), "ALTER DATABASE "+side+" OWNER TO etf_owner")
}

func TestDropKept(t *testing.T) {
	o := pair(t)
	live := o.URL.Database
	admin := connect(t, owner("postgres"))
	drop := func(name string) error { return DropKept(t.Context(), host.Local{}, o.URL, name, "test") }
	for _, name := range []string{live, o.Side, o.Kept, "postgres"} { // none of them is marked, one is not there
		if err := drop(name); !errors.Is(err, ErrNotKept) {
			t.Errorf("before the swap, %s: %v", name, err)
		}
	}
	if err := Swap(t.Context(), host.Local{}, o); err != nil {
		t.Fatal(err)
	}
	user := connect(t, owner(o.Kept))
	if err := drop(o.Kept); !errors.Is(err, ErrInUse) {
		t.Errorf("with a session in it: %v", err)
	}
	closeConn(t.Context(), user)
	exec(t, admin, "COMMENT ON DATABASE "+live+" IS '"+keptMark+"by hand'")
	if err := drop(live); !errors.Is(err, ErrNotKept) {
		t.Errorf("the live one, marked: %v", err)
	}
	if err := drop(o.Kept); err != nil {
		t.Error(err)
	}
	if all := keptOf(t, admin, o.Kept); len(all) > 0 || what(t, live) != "side" {
		t.Errorf("afterwards: %+v", all)
	}
}
