package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

func TestFence(t *testing.T) {
	u := newDatabase(t, "fence")
	conn, other := connect(t, u), connect(t, u, "op-2 ")
	ctx := t.Context()
	nothing := func(pgx.Tx) error { return nil }
	if err := WithFence(ctx, conn, 1, nothing); !errors.Is(err, ErrFenced) {
		t.Errorf("WithFence before the schema exists: %v", err)
	}
	for range 2 {
		if err := EnsureOps(ctx, conn); err != nil {
			t.Fatal(err)
		}
	}
	if n := scan[int](t, conn, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"); n != 0 {
		t.Errorf("%d objects in public", n)
	}
	var refused *FencedError
	if err := WithFence(ctx, conn, 1, nothing); !errors.As(err, &refused) || refused.Present != 0 {
		t.Errorf("WithFence before the fence was taken: %v", err)
	}
	for _, test := range []struct {
		token int64
		op    string
		ok    bool
	}{{5, "op-0", true}, {5, "op-0", true}, {5, "op-1", true}, {4, "op-0", false}, {6, "op-2", true}} {
		err := TakeFence(ctx, conn, test.token, test.op)
		if (err == nil) != test.ok || err != nil && (!errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), "op-1")) {
			t.Errorf("TakeFence(%d, %s): %v", test.token, test.op, err)
		}
	}
	err := WithFence(ctx, conn, 5, func(pgx.Tx) error { t.Error("ran with a stale token"); return nil })
	if !errors.As(err, &refused) || refused.Operation != "op-2" || refused.Present != 6 || refused.TakenAt.IsZero() {
		t.Errorf("WithFence with a stale token: %v", err)
	}
	err = WithFence(ctx, other, 6, func(tx pgx.Tx) error {
		if err := TakeFence(ctx, conn, 7, "op-3"); !errors.Is(err, ErrFenceBusy) || !strings.Contains(err.Error(), "op-2 test") {
			t.Errorf("TakeFence under an open transaction: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := TakeFence(ctx, conn, 7, "op-3"); err != nil {
		t.Error(err)
	}
	exec(t, conn, "UPDATE etf_ops.layout SET version = 99")
	if err := EnsureOps(ctx, conn); err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("EnsureOps on a newer layout: %v", err)
	}
}

// Many take the fence and write under it at once: no write under a token may
// come after one under a higher token.
func TestNoWriteAfterTheFenceHasMoved(t *testing.T) {
	u := newDatabase(t, "race")
	setup := connect(t, u)
	exec(t, setup, "CREATE TABLE writes (at timestamptz, token bigint)")
	var wg sync.WaitGroup
	for token := int64(1); token <= 8; token++ {
		wg.Go(func() {
			ctx := context.Background()
			conn, err := Connect(ctx, host.Local{}, u, "racer")
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(ctx)
			if err := EnsureOps(ctx, conn); err != nil {
				t.Error(err)
			}
			for err = ErrFenceBusy; errors.Is(err, ErrFenceBusy); {
				err = TakeFence(ctx, conn, token, fmt.Sprint("op-", token))
			}
			for n := 0; n < 60 && err == nil; n++ {
				err = WithFence(ctx, conn, token, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, "INSERT INTO writes VALUES (clock_timestamp(), $1)", token)
					return err
				})
			}
			if err != nil && !errors.Is(err, ErrFenced) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := scan[int](t, setup, "SELECT count(*) FROM writes WHERE token = 8"); n != 60 {
		t.Errorf("the highest token wrote %d times, want 60", n)
	}
	if n := scan[int](t, setup, "SELECT count(*) FROM writes a WHERE EXISTS (SELECT FROM writes b WHERE b.token > a.token AND b.at < a.at)"); n != 0 {
		t.Errorf("%d writes came after the fence had moved on", n)
	}
}
