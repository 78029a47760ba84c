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

type kind int

const (
	other kind = iota
	cached
	celery
	flag
)

// classify tells whose key it is. Flags and Celery's keys are recognised
// first, so that no prefix, however short, takes them for the cache's.
func (c *Client) classify(key, prefix string) kind {
	switch {
	case c.flags[key]:
		return flag
	case c.isCelery(key):
		return celery
	case strings.HasPrefix(key, prefix):
		return cached
	}
	return other
}

// isCelery knows the names that Celery and its transport give to their keys.
func (c *Client) isCelery(key string) bool {
	for _, p := range []string{"celery-task-meta-", "celery-taskset-meta-", "_kombu.", "unacked", "celeryev.", "redbeat:", "redbeat::"} {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	if strings.HasSuffix(key, ".pidbox") {
		return true
	}
	queue, _, _ := strings.Cut(key, "\x06\x16") // before a priority
	return c.queues[queue]
}

// Look goes through all keys of the database without blocking the server.
// With an empty prefix every key that is neither Celery's nor a flag counts
// as the cache's.
func (c *Client) Look(ctx context.Context, prefix string) (Contents, error) {
	var found Contents
	seen := map[string]bool{}
	err := c.scan(ctx, "*", func(_ context.Context, keys []string) error {
		for _, key := range keys {
			switch c.classify(key, prefix) {
			case cached:
				found.Cache++
			case celery:
				found.Celery++
				if len(found.Sample) < sample && !seen[key] {
					seen[key] = true
					found.Sample = append(found.Sample, key)
				}
			case flag:
				if !seen[key] {
					seen[key] = true
					found.Flags = append(found.Flags, key)
				}
			default:
				found.Other++
			}
			found.Total++
		}
		return nil
	})
	slices.Sort(found.Flags)
	slices.Sort(found.Sample)
	return found, err
}

// Clear unlinks the cache's keys, those that begin with prefix, and returns
// how many there were; the server frees their memory in the background. With
// an empty prefix the whole database is the cache, and Clear refuses with a
// *ForeignError when it sees anything of Celery's or a flag in it. progress,
// which may be nil, is told the number of keys unlinked and the total of keys
// in the database at the beginning.
func (c *Client) Clear(ctx context.Context, prefix string, progress func(done, total int64)) (int64, error) {
	ctx, cancel := withDeadline(ctx, scanTimeout)
	defer cancel()
	if prefix == "" {
		found, err := c.Look(ctx, "")
		if err != nil {
			return 0, err
		}
		if found.Celery > 0 || len(found.Flags) > 0 {
			return 0, &ForeignError{Address: c.address, Contents: found}
		}
	}
	total, err := c.rdb.DBSize(ctx).Result()
	if err != nil {
		return 0, c.explain(ctx, "clearing the cache", err)
	}
	var done int64
	err = c.scan(ctx, escape(prefix)+"*", func(ctx context.Context, keys []string) error {
		keys = slices.DeleteFunc(keys, func(k string) bool { return c.classify(k, prefix) != cached })
		if len(keys) == 0 {
			return nil
		}
		n, err := c.rdb.Unlink(ctx, keys...).Result()
		if done += n; progress != nil {
			progress(done, max(total, done))
		}
		return err
	})
	return done, err
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
