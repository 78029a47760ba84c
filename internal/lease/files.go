package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

const (
	prefix = "lease."
	// The ground is the file number 0, made when the folder holds no lease:
	// released from the beginning, with the time as its token, so that tokens
	// still grow when the folder was lost. It stays: whoever begins without
	// a lease begins from the same token.
	ground = 0
)

// A damagedError is about the newest lease file, which says nothing.
type damagedError struct {
	dir     string
	number  int64
	content []byte
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("reading the lease: %s is damaged: look in %s/journal who works on this target, then run lease:release",
		path(e.dir, e.number), e.dir)
}

func path(dir string, number int64) string {
	return dir + "/" + prefix + strconv.FormatInt(number, 10)
}

// Show reads the newest lease; nil when there never was one. Its State says
// whether anybody holds it.
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

func read(ctx context.Context, h host.Host, dir string, number int64) (*Holder, error) {
	file := path(dir, number)
	b, err := h.ReadFile(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("reading the lease: %w", err)
	}
	// The version first: what else a newer format changed cannot be known.
	var format struct {
		V int `json:"v"`
	}
	var holder Holder
	err = json.Unmarshal(b, &format)
	if err == nil && format.V > Version {
		return nil, fmt.Errorf("reading the lease: %s has format %d, this program knows up to %d: use the newer program that wrote it", file, format.V, Version)
	}
	if err == nil {
		err = json.Unmarshal(b, &holder)
	}
	if err != nil || holder.V < 1 || number != ground && holder.Token != number {
		return nil, &damagedError{dir: dir, number: number, content: b}
	}
	return &holder, nil
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
		t, err := strconv.ParseInt(number, 10, 64)
		if err == nil && t >= ground && strconv.FormatInt(t, 10) == number {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	return all, nil
}

// layGround makes the ground, unless somebody else just has.
func layGround(ctx context.Context, h host.Host, dir string, now time.Time) error {
	now = now.UTC()
	b := encode(Holder{V: Version, Token: now.Unix(), Since: now, Released: &now})
	if err := h.Create(ctx, path(dir, ground), b, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("taking the lease: %w", err)
	}
	return nil
}

// rewrite changes our file; one at a time.
func (l *Lease) rewrite(ctx context.Context, change func(*Holder)) error {
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	renewed := time.Now()
	holder := l.Holder()
	change(&holder)
	if err := l.h.WriteFile(ctx, path(l.dir, holder.Token), encode(holder), 0o600); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder, l.renewed = holder, renewed
	return nil
}

func encode(h Holder) []byte {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // plain strings and numbers
	}
	return append(b, '\n')
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
			_ = l.h.Remove(ctx, path(l.dir, t))
		}
	}
}
