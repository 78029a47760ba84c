package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

const (
	// checkTimeout bounds a look at the lease before a change: a caller that
	// is not to be cut short has no deadline of its own.
	checkTimeout = 10 * time.Second
	// recentCheck is how long a check counts for a connection, which writes
	// often.
	recentCheck = 200 * time.Millisecond
)

// A guard changes nothing unless the lease is held.
type guard struct {
	host.Host // what only looks passes through
	l         *Lease
}

// Guard returns h for who holds the lease: each call that changes something,
// each command and each connection first makes sure that it is still held, and
// fails with ErrLost otherwise. So one that stood still past its expiry and
// goes on changes nothing more, but for the one change it stood still in.
func (l *Lease) Guard(h host.Host) host.Host { return guard{Host: h, l: l} }

// held looks at the lease. That the caller's context has ended does not count
// as a lost lease, but ends the call.
func (g guard) held(ctx context.Context, what string) error {
	// A command that the host needs for looking is not the operation's.
	look, cancel := context.WithTimeout(host.WithOperation(ctx, host.Operation{}), checkTimeout)
	defer cancel()
	err := g.l.known()
	if err == nil && ctx.Err() == nil {
		err = g.l.Check(look)
	}
	if ctx.Err() != nil && !errors.Is(err, ErrLost) {
		err = context.Cause(ctx)
		if !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: not done: %w", what, err)
	}
	return nil
}

func (g guard) Run(ctx context.Context, c host.Command) (host.Result, error) {
	name := "running a command"
	if len(c.Argv) > 0 {
		name = c.Argv[0]
	}
	if err := g.held(ctx, name); err != nil {
		return host.Result{}, err
	}
	return g.Host.Run(ctx, c)
}

func (g guard) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := g.held(ctx, "writing "+path); err != nil {
		return err
	}
	return g.Host.WriteFile(ctx, path, data, mode)
}

func (g guard) Create(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := g.held(ctx, "creating "+path); err != nil {
		return err
	}
	return g.Host.Create(ctx, path, data, mode)
}

func (g guard) Append(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := g.held(ctx, "appending to "+path); err != nil {
		return err
	}
	return g.Host.Append(ctx, path, data, mode)
}

func (g guard) Mkdir(ctx context.Context, path string, mode fs.FileMode) error {
	if err := g.held(ctx, "making "+path); err != nil {
		return err
	}
	return g.Host.Mkdir(ctx, path, mode)
}

func (g guard) Remove(ctx context.Context, path string) error {
	if err := g.held(ctx, "removing "+path); err != nil {
		return err
	}
	return g.Host.Remove(ctx, path)
}

func (g guard) Rename(ctx context.Context, from, to string) error {
	if err := g.held(ctx, "renaming "+from+" to "+to); err != nil {
		return err
	}
	return g.Host.Rename(ctx, from, to)
}

func (g guard) Symlink(ctx context.Context, target, link string) error {
	if err := g.held(ctx, "linking "+link); err != nil {
		return err
	}
	return g.Host.Symlink(ctx, target, link)
}

func (g guard) Terminate(ctx context.Context, p host.Process, grace time.Duration) error {
	if err := g.held(ctx, fmt.Sprintf("ending process %d", p.PID)); err != nil {
		return err
	}
	return g.Host.Terminate(ctx, p, grace)
}

func (g guard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := g.held(ctx, "dialling "+address); err != nil {
		return nil, err
	}
	c, err := g.Host.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &guardedConn{Conn: c, g: g, address: address}, nil
}

// A guardedConn says nothing more to a server once the lease is lost.
type guardedConn struct {
	net.Conn
	g       guard
	address string
}

func (c *guardedConn) Write(b []byte) (int, error) {
	if !c.g.l.recent() {
		if err := c.g.held(context.Background(), "writing to "+c.address); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

// CloseWrite closes one direction, where the connection can.
func (c *guardedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("closing one direction to %s: %w", c.address, errors.ErrUnsupported)
	}
	return half.CloseWrite()
}

// recent reports whether the lease was found to be held just now.
func (l *Lease) recent() bool {
	if l.known() != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.checked) < recentCheck
}
