package alembic

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// sessionScript runs alembic and has its sessions carry lock and fence.
//
//go:embed session.py
var sessionScript string

// LockKey is the SQL of the advisory lock that every session of a migration
// has, in shared mode, until it ends. Whoever takes it too keeps migrations of
// the present database out.
const LockKey = "hashtext('etf-deploy/migration')"

var (
	refusal  = regexp.MustCompile(`etf-deploy: (busy|fenced): (.*)`)
	refusals = map[string]error{"busy": ErrBusy, "fenced": ErrFenced}
)

// Upgrade migrates up to target, such as "head". out, which may be nil, gets
// what alembic prints.
//
// Two migrations of one database never run at the same time, also where the
// session of a killed one is still at work: the second waits as long as its
// LockTimeout, then it is ErrBusy. ErrFenced when a transaction found another
// token than Options.Fence; that one changed nothing, those before it stay.
func (c *Client) Upgrade(ctx context.Context, target string, out io.Writer) error {
	return c.migrate(ctx, "upgrade", target, out)
}

// Downgrade migrates back to target; "base" undoes everything. It is locked
// and fenced as Upgrade is.
func (c *Client) Downgrade(ctx context.Context, target string, out io.Writer) error {
	return c.migrate(ctx, "downgrade", target, out)
}

func (c *Client) migrate(ctx context.Context, direction, target string, out io.Writer) error {
	ctx, cancel := withDeadline(ctx, migrateTimeout)
	defer cancel()
	if err := checkRevision(target); err != nil {
		return err
	}
	if _, err := c.python(ctx, out, strings.NewReader(sessionScript), "-", direction, target); err != nil {
		return fmt.Errorf("%s to %s: %w", direction, target, err)
	}
	return nil
}
