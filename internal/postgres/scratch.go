package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// ErrScratchBusy says that somebody else is restoring into the scratch
// database just now.
var ErrScratchBusy = errors.New("the scratch database is in use")

// TryRestore proves that a dump can be restored: it does so into a scratch
// database, with all the checks of Restore, and drops that again. One that a
// killed run has left is replaced. o.Side is not used. Errors: those of
// Restore, ErrScratchBusy.
func TryRestore(ctx context.Context, h host.Host, o RestoreOptions) error {
	ctx, cancel := withDeadline(ctx, longTimeout)
	defer cancel()
	o.Side = o.URL.Database + "_proof"
	admin, err := maintenance(ctx, h, o.URL, o.ApplicationName, o.URL.Database, o.Side)
	if err != nil {
		return err
	}
	defer closeConn(ctx, admin)
	// The lock is what tells a database in use from one that was left over: it
	// goes with its session, however that ends.
	var free bool
	err = admin.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtext('etf-deploy'), hashtext($1)) FROM set_config('idle_session_timeout', '0', false)", o.Side).Scan(&free)
	if err == nil && !free {
		err = ErrScratchBusy
	}
	if err != nil {
		return fmt.Errorf("restoring %s into %s: %w", o.File, o.Side, err)
	}
	if err := Restore(ctx, h, o); err != nil {
		return err
	}
	return DropSide(ctx, h, o.URL.WithDatabase(o.Side), o.ApplicationName)
}
