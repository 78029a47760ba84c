package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// damaged is the Purpose of a holder that cannot be told any more.
const damaged = "damaged"

// Break frees a lease for a person, and returns its holder, who then has lost
// it: a later one is made that is released already. One that is held gives a
// *HeldError; for a free one nil is returned and nothing done. The content of
// a damaged file is kept beside it, and the holder holds its Token only.
func Break(ctx context.Context, h host.Host, dir string, r Request) (broken *Holder, err error) {
	r = r.defaults()
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("freeing the lease: %w", context.Cause(ctx))
		}
		last, err := Show(ctx, h, dir)
		next := int64(0)
		var bad *damagedError
		switch {
		case errors.As(err, &bad):
			if err := bad.keep(ctx, h); err != nil {
				return nil, err
			}
			last, next = &Holder{Token: bad.number, Purpose: damaged}, bad.number+1
			if bad.number == ground { // which held the token to go on from
				next = r.Now().Unix() + 1
			}
		case err != nil:
			return nil, err
		default:
			state := last.State(ctx, r.Now())
			if state == Free {
				return nil, nil
			}
			if state == Held {
				return nil, &HeldError{Holder: *last, State: state}
			}
			next = last.Token + 1
		}
		l, err := create(ctx, h, dir, r, next, true)
		if err != nil {
			return nil, err
		}
		if l != nil {
			return last, nil
		}
	}
}

// keep copies the content before anybody can tidy the file up.
func (e *damagedError) keep(ctx context.Context, h host.Host) error {
	err := h.Create(ctx, path(e.dir, e.number)+"."+damaged, e.content, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("freeing the lease: keeping what the damaged file held: %w", err)
	}
	return nil
}
