package cache

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/redis/go-redis/v9"
)

type kind int

const (
	other kind = iota
	cached
	celery
	flag
)

// Conventions of kombu, Celery's transport.
const (
	separator  = "\x06\x16"
	kombu      = "_kombu."
	bindingKey = kombu + "binding."
)

// Names by which Celery's keys begin; those of results may stand behind a
// prefix of the application's choice.
var (
	celeryBegin   = []string{"unacked", "celeryev.", "redbeat:"}
	celeryContain = []string{kombu, "celery-task-meta-", "celery-taskset-meta-"}
)

// An owner tells whose a key is. Flags and Celery's keys are recognised first,
// so that no prefix, however short, takes them for the cache's.
type owner struct {
	prefix   string // of the cache's keys
	flags    map[string]bool
	queues   map[string]bool
	prefixes []string // of Celery's keys: "" and what the application has chosen
}

func (o *owner) byName(key string) kind {
	switch {
	case o.flags[key]:
		return flag
	case o.isCelery(key):
		return celery
	case strings.HasPrefix(key, o.prefix):
		return cached
	}
	return other
}

func (o *owner) isCelery(key string) bool {
	for _, part := range celeryContain {
		if strings.Contains(key, part) {
			return true
		}
	}
	queue, _, _ := strings.Cut(key, separator) // before a priority
	if o.queues[queue] || strings.HasSuffix(queue, ".pidbox") {
		return true
	}
	for _, p := range o.prefixes {
		rest, ok := strings.CutPrefix(key, p)
		for _, begin := range celeryBegin {
			if ok && strings.HasPrefix(rest, begin) {
				return true
			}
		}
	}
	return false
}

// owner reads from the bindings how the queues are called, also those that
// nobody has configured here and those that are empty just now.
func (c *Client) owner(ctx context.Context, prefix string) (*owner, error) {
	o := &owner{prefix: prefix, flags: c.flags, queues: map[string]bool{}, prefixes: []string{""}}
	for q := range c.queues {
		o.queues[q] = true
	}
	err := c.scan(ctx, "*"+bindingKey+"*", func(ctx context.Context, keys []string) error {
		for _, key := range keys {
			chosen, _, _ := strings.Cut(key, bindingKey)
			if chosen != "" {
				o.prefixes = append(o.prefixes, chosen)
			}
			members, err := c.rdb.SMembers(ctx, key).Result()
			if err != nil && !wrongType(err) {
				return err
			}
			for _, m := range members { // routing key, pattern, queue
				parts := strings.Split(m, separator)
				o.queues[chosen+parts[len(parts)-1]] = true
			}
			for q := range c.queues {
				o.queues[chosen+q] = true
			}
		}
		return nil
	})
	return o, err
}

// sort tells whose the keys are. What would be the cache's by its name is
// Celery's all the same if it is a list of messages.
func (c *Client) sort(ctx context.Context, o *owner, keys []string) ([]kind, error) {
	kinds, types := make([]kind, len(keys)), make([]*redis.StatusCmd, len(keys))
	pipe := c.rdb.Pipeline()
	for i, key := range keys {
		if kinds[i] = o.byName(key); kinds[i] == cached {
			types[i] = pipe.Type(ctx, key)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	for i, t := range types {
		if t == nil || t.Val() != "list" {
			continue
		}
		first, err := c.rdb.LIndex(ctx, keys[i], 0).Result()
		if err != nil && !expected(err) {
			return nil, err
		}
		if isMessage(first) {
			kinds[i] = celery
		}
	}
	return kinds, nil
}

// isMessage knows how kombu wraps what it puts into a queue.
func isMessage(item string) bool {
	var m struct {
		Body       *string         `json:"body"`
		Type       json.RawMessage `json:"content-type"`
		Properties map[string]any  `json:"properties"`
	}
	return json.Unmarshal([]byte(item), &m) == nil && m.Body != nil && m.Type != nil && m.Properties != nil
}
