package cache

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

const (
	batch  = 1000 // keys asked for, and unlinked, in one round trip
	sample = 10   // keys named in a list
)

// Contents is what a database holds.
type Contents struct {
	Total  int64    // keys altogether
	Cache  int64    // keys that Clear would remove
	Celery int64    // keys of Celery's: queues, bindings, results, unacknowledged messages
	Flags  []string // the flags that are set
	Other  int64    // neither of these, and without the prefix
	Sample []string // some of Celery's keys, sorted

	Strange []string // some of the others, sorted
}

// A ForeignError says that a database which was to be cleared whole holds
// more than a cache.
type ForeignError struct {
	Address  string
	Contents Contents
}

func (e *ForeignError) Error() string {
	names := append(slices.Clone(e.Contents.Flags), e.Contents.Sample...)
	return fmt.Sprintf("clearing the cache: redis database %s is not the cache's alone: it holds %d flags and %d keys of celery's, such as %s: set the cache's key prefix, or give the cache a database of its own",
		e.Address, len(e.Contents.Flags), e.Contents.Celery, strings.Join(names, ", "))
}

// Look goes through all keys of the database without blocking the server.
// With an empty prefix every key that is neither Celery's nor a flag counts
// as the cache's.
func (c *Client) Look(ctx context.Context, prefix string) (Contents, error) {
	ctx, cancel := withDeadline(ctx, scanTimeout)
	defer cancel()
	o, err := c.owner(ctx, prefix)
	if err != nil {
		return Contents{}, err
	}
	var found Contents
	seen := map[string]bool{} // of those that are named: a key may come twice
	name := func(list []string, key string, most int) []string {
		if len(list) == most || seen[key] {
			return list
		}
		seen[key] = true
		return append(list, key)
	}
	err = c.scan(ctx, "*", func(ctx context.Context, keys []string) error {
		kinds, err := c.sort(ctx, o, keys)
		for i, k := range kinds {
			switch found.Total++; k {
			case cached:
				found.Cache++
			case celery:
				found.Celery++
				found.Sample = name(found.Sample, keys[i], sample)
			case flag:
				found.Flags = name(found.Flags, keys[i], len(c.flags))
			default:
				found.Other++
				found.Strange = name(found.Strange, keys[i], sample)
			}
		}
		return err
	})
	for _, list := range [][]string{found.Flags, found.Sample, found.Strange} {
		slices.Sort(list)
	}
	return found, err
}

// Clear unlinks the cache's keys, those that begin with prefix, and returns
// how many there were; the server frees their memory in the background. With
// an empty prefix the whole database is the cache, and Clear refuses with a
// *ForeignError when it sees anything of Celery's or a flag in it, but for a
// pause of this suite's own: operations clear the cache while updates are
// paused. Each batch of keys is judged again before it goes, so what Celery or
// a flag adds meanwhile stays as well. progress, which may be nil, is told the
// number of keys unlinked and the total of keys in the database at the
// beginning.
func (c *Client) Clear(ctx context.Context, prefix string, progress func(done, total int64)) (int64, error) {
	ctx, cancel := withDeadline(ctx, scanTimeout)
	defer cancel()
	if prefix == "" {
		if err := c.alone(ctx); err != nil {
			return 0, err
		}
	}
	total, err := c.rdb.DBSize(ctx).Result()
	if err != nil {
		return 0, c.explain(ctx, "clearing the cache", err)
	}
	o, err := c.owner(ctx, prefix)
	if err != nil {
		return 0, err
	}
	var done int64
	err = c.scan(ctx, escape(prefix)+"*", func(ctx context.Context, keys []string) error {
		kinds, err := c.sort(ctx, o, keys)
		if err != nil {
			return err
		}
		var ours []string
		for i, k := range kinds {
			if k == cached {
				ours = append(ours, keys[i])
			}
		}
		if len(ours) == 0 {
			return nil
		}
		n, err := c.rdb.Unlink(ctx, ours...).Result()
		if done += n; progress != nil {
			progress(done, max(total, done))
		}
		return err
	})
	return done, err
}

// alone fails with a *ForeignError unless the database is the cache's alone.
func (c *Client) alone(ctx context.Context) error {
	found, err := c.Look(ctx, "")
	if err != nil {
		return err
	}
	return c.Foreign(ctx, found)
}

// Foreign is a *ForeignError when a database of these contents must not be
// cleared whole.
func (c *Client) Foreign(ctx context.Context, found Contents) error {
	strangers := 0
	for _, key := range found.Flags {
		p, err := c.Paused(ctx, key)
		if err != nil {
			return err
		}
		if p != nil && p.Since.IsZero() {
			strangers++
		}
	}
	if found.Celery > 0 || strangers > 0 {
		return &ForeignError{Address: c.address, Contents: found}
	}
	return nil
}

// scan calls f with all keys that match, a batch at a time; a key may come twice.
func (c *Client) scan(ctx context.Context, match string, f func(context.Context, []string) error) error {
	ctx, cancel := withDeadline(ctx, scanTimeout)
	defer cancel()
	for cursor := uint64(0); ; {
		keys, next, err := c.rdb.Scan(ctx, cursor, match, batch).Result()
		if err == nil {
			err = f(ctx, keys)
		}
		if err != nil {
			return c.explain(ctx, "going through the keys", err)
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// escape makes a prefix match itself only.
func escape(prefix string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(prefix)
}
