// Package lease lets one operation at a time change a target. It lies on the
// target, not on the machine that the suite runs on, so that a laptop and a
// pipeline see the same one.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Version of the lease files that this package writes.
const Version = 1

// ErrHeld is in the error of Take when another operation holds the lease.
var ErrHeld = errors.New("the lease is held")

// A Holder is what a lease file says.
type Holder struct {
	V         int          `json:"v"`
	Token     int64        `json:"token"` // grows with every lease; also the fence in the database
	Operation string       `json:"operation"`
	Purpose   string       `json:"purpose"` // the target
	By        string       `json:"by"`      // user@machine
	Process   host.Process `json:"process"`
	Run       string       `json:"run,omitempty"` // URL of the pipeline run
	Since     time.Time    `json:"since"`
	Released  *time.Time   `json:"released,omitempty"`
}

// String says who holds it, since when and what for.
func (h Holder) String() string {
	s := fmt.Sprintf("%s holds it since %s for %s (process %d", h.By, h.Since.UTC().Format(time.RFC3339), h.Purpose, h.Process.PID)
	if h.Run != "" {
		s += ", " + h.Run
	}
	return s + ")"
}

// A Lease is held until it is released or its process is gone.
type Lease struct {
	h      host.Host
	dir    string
	holder Holder
}

// Take takes the lease in dir for holder, whose Token and Since it sets. Each
// lease is the file of the number after the last one's, made exclusively: of
// many takers, whatever their clocks say, one wins. A lease whose process is
// gone is free; one whose process could not be looked for is not.
func Take(ctx context.Context, h host.Host, dir string, holder Holder, now time.Time) (*Lease, error) {
	if err := h.Mkdir(ctx, dir, 0o700); err != nil {
		return nil, fmt.Errorf("taking the lease: %w", err)
	}
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("taking the lease: %w", context.Cause(ctx))
		}
		last, err := Show(ctx, h, dir)
		if err != nil {
			return nil, err
		}
		if last == nil {
			if err := layGround(ctx, h, dir, now); err != nil {
				return nil, err
			}
			continue
		}
		if last.Released == nil {
			running, err := host.Running(ctx, h, last.Process)
			if err != nil {
				return nil, fmt.Errorf("taking the lease: %s, and it could not be seen whether it still runs: %w", last, err)
			}
			if running {
				return nil, fmt.Errorf("%w: %s", ErrHeld, last)
			}
		}
		holder.V, holder.Token, holder.Since, holder.Released = Version, last.Token+1, now.UTC(), nil
		l := &Lease{h: h, dir: dir, holder: holder}
		won, err := l.make(ctx)
		if err != nil {
			return nil, err
		}
		if won {
			return l, nil
		}
	}
}

// layGround makes the ground, unless somebody else just has.
func layGround(ctx context.Context, h host.Host, dir string, now time.Time) error {
	now = now.UTC()
	l := &Lease{h: h, dir: dir, holder: Holder{V: Version, Token: now.Unix(), Since: now, Released: &now}}
	if err := h.Create(ctx, l.path(ground), l.encode(), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("taking the lease: %w", err)
	}
	return nil
}

// make creates the file of this lease; false when another taker was first.
func (l *Lease) make(ctx context.Context) (bool, error) {
	err := l.h.Create(ctx, l.path(l.holder.Token), l.encode(), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("taking the lease: %w", err)
	}
	// Once it is made it must be held or removed, also when ctx ends here.
	ctx = context.WithoutCancel(ctx)
	// A slow taker may have made a number that others had already passed.
	if err := l.Check(ctx); err != nil {
		if rmErr := l.h.Remove(ctx, l.path(l.holder.Token)); rmErr != nil {
			return false, fmt.Errorf("taking the lease: %w", rmErr)
		}
		if !errors.Is(err, ErrHeld) {
			return false, err
		}
		return false, nil
	}
	l.removeOlder(ctx)
	return true, nil
}

// Show reads the newest lease; nil when there never was one. It may be
// released, or its process gone.
func Show(ctx context.Context, h host.Host, dir string) (*Holder, error) {
	for {
		all, err := tokens(ctx, h, dir)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		holder, err := read(ctx, h, dir, all[len(all)-1])
		if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			continue // removed meanwhile by the holder of the next one
		}
		return holder, err
	}
}

// Token is the number of this lease.
func (l *Lease) Token() int64 { return l.holder.Token }

// Check fails with ErrHeld when somebody has taken a later lease.
func (l *Lease) Check(ctx context.Context) error {
	all, err := tokens(ctx, l.h, l.dir)
	if err != nil {
		return err
	}
	if len(all) == 0 || all[len(all)-1] != l.holder.Token {
		return fmt.Errorf("%w: it was taken over", ErrHeld)
	}
	return nil
}

// Release frees the lease. It is written, not removed: the number must not be
// used again.
func (l *Lease) Release(ctx context.Context, now time.Time) error {
	if err := l.Check(ctx); err != nil {
		return err
	}
	now = now.UTC()
	l.holder.Released = &now
	if err := l.h.WriteFile(ctx, l.path(l.holder.Token), l.encode(), 0o600); err != nil {
		return fmt.Errorf("releasing the lease: %w", err)
	}
	return nil
}

func (l *Lease) encode() []byte {
	b, err := json.Marshal(l.holder)
	if err != nil {
		panic(err) // plain strings and numbers
	}
	return append(b, '\n')
}

func (l *Lease) path(token int64) string {
	return path.Join(l.dir, prefix+strconv.FormatInt(token, 10))
}

// removeOlder tidies up. What it leaves does no harm, the next holder tries
// again.
func (l *Lease) removeOlder(ctx context.Context) {
	all, err := tokens(ctx, l.h, l.dir)
	if err != nil {
		return
	}
	for _, t := range all {
		if t != ground && t < l.holder.Token {
			_ = l.h.Remove(ctx, l.path(t))
		}
	}
}
