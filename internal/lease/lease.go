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
	"slices"
	"strconv"
	"strings"
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

const prefix = "lease."

// Take takes the lease in dir for holder, whose Token and Since it sets. Each
// lease is a file of the next number, made exclusively: of many takers one
// wins. The first number is the time, so that numbers still grow when the
// folder was lost. A lease whose process is gone is free.
func Take(ctx context.Context, h host.Host, dir string, holder Holder, now time.Time) (*Lease, error) {
	if err := h.Mkdir(ctx, dir, 0o700); err != nil {
		return nil, fmt.Errorf("taking the lease: %w", err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("taking the lease: %w", context.Cause(ctx))
		}
		last, err := Show(ctx, h, dir)
		if err != nil {
			return nil, err
		}
		holder.Token = now.Unix()
		if last != nil {
			if last.Released == nil && host.Alive(ctx, h, last.Process) {
				return nil, fmt.Errorf("%w: %s", ErrHeld, last)
			}
			holder.Token = max(holder.Token, last.Token+1)
		}
		holder.V, holder.Since, holder.Released = Version, now.UTC(), nil
		l := &Lease{h: h, dir: dir, holder: holder}
		if err := h.Create(ctx, l.path(holder.Token), l.encode(), 0o600); err != nil {
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			return nil, fmt.Errorf("taking the lease: %w", err)
		}
		// A slow taker may have made a number that others had already passed.
		if err := l.Check(ctx); err != nil {
			if rmErr := h.Remove(ctx, l.path(holder.Token)); rmErr != nil {
				return nil, rmErr
			}
			continue
		}
		return l, l.removeOlder(ctx)
	}
}

// Show reads the newest lease; nil when there never was one. It may be
// released, or its process gone.
func Show(ctx context.Context, h host.Host, dir string) (*Holder, error) {
	tokens, err := tokens(ctx, h, dir)
	if err != nil || len(tokens) == 0 {
		return nil, err
	}
	newest := tokens[len(tokens)-1]
	file := path.Join(dir, prefix+strconv.FormatInt(newest, 10))
	b, err := h.ReadFile(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("reading the lease: %w", err)
	}
	var holder Holder
	if err := json.Unmarshal(b, &holder); err != nil || holder.Token != newest {
		return nil, fmt.Errorf("reading the lease: %s is damaged: look who works on this target, then remove the file", file)
	}
	if holder.V > Version {
		return nil, fmt.Errorf("reading the lease: %s has format %d, this program knows up to %d", file, holder.V, Version)
	}
	return &holder, nil
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

func (l *Lease) removeOlder(ctx context.Context) error {
	all, err := tokens(ctx, l.h, l.dir)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t < l.holder.Token {
			if err := l.h.Remove(ctx, l.path(t)); err != nil {
				return err
			}
		}
	}
	return nil
}

// tokens lists the numbers of the lease files, ascending.
func tokens(ctx context.Context, h host.Host, dir string) ([]int64, error) {
	names, err := h.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the lease: %w", err)
	}
	var all []int64
	for _, name := range names {
		number, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if t, err := strconv.ParseInt(number, 10, 64); err == nil {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	return all, nil
}
