package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// PauseVersion of the flag's value that this package writes.
const PauseVersion = 1

// A Pause says who keeps updates from starting. The service only looks whether
// the key exists; who, since when and why is for people.
type Pause struct {
	Since     time.Time  `json:"since,omitzero"` // zero when it was set by hand
	By        string     `json:"by,omitempty"`   // user@machine
	Reason    string     `json:"reason,omitempty"`
	Operation string     `json:"operation,omitempty"` // whose undo may clear it
	Raw       string     `json:"raw,omitempty"`       // a value that is not the suite's
	Until     *time.Time `json:"until,omitempty"`     // when Redis drops it by itself, if ever
}

type pauseFormat struct {
	V         int       `json:"v"`
	Since     time.Time `json:"since"`
	By        string    `json:"by"`
	Reason    string    `json:"reason,omitempty"`
	Operation string    `json:"operation,omitempty"`
}

func (p Pause) encode() (string, error) {
	b, err := json.Marshal(pauseFormat{V: PauseVersion, Since: p.Since.UTC(), By: p.By, Reason: p.Reason, Operation: p.Operation})
	return string(b), err
}

// ParsePause reads the flag's value. Any value pauses: one that is not of this
// package's form, or of a newer one, is in Raw.
func ParsePause(value string) Pause {
	var f pauseFormat
	if err := json.Unmarshal([]byte(value), &f); err != nil || f.V < 1 || f.V > PauseVersion || f.Since.IsZero() {
		return Pause{Raw: value}
	}
	return Pause{Since: f.Since, By: f.By, Reason: f.Reason, Operation: f.Operation}
}

// String says who paused the updates, since when and why.
func (p Pause) String() string {
	var b strings.Builder
	if p.Since.IsZero() {
		fmt.Fprintf(&b, "set by hand (value %q): since when is not recorded", p.Raw)
	} else {
		fmt.Fprintf(&b, "since %s by %s", p.Since.UTC().Format(time.RFC3339), p.By)
	}
	if p.Operation != "" {
		b.WriteString(" in " + p.Operation)
	}
	if p.Reason != "" {
		b.WriteString(": " + p.Reason)
	}
	if p.Until != nil {
		b.WriteString("; it ends by itself at " + p.Until.UTC().Format(time.RFC3339))
	}
	return b.String()
}

// Paused reads the pause flag; nil when updates may start.
func (c *Client) Paused(ctx context.Context, key string) (*Pause, error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	// Side by side: a pause that is cleared between two looks is none.
	pipe := c.rdb.TxPipeline()
	val, ttl := pipe.Get(ctx, key), pipe.PTTL(ctx, key)
	if _, err := pipe.Exec(ctx); err != nil && !expected(err) {
		return nil, c.explain(ctx, "reading the pause flag "+key, err)
	}
	p := pauseOf(val)
	if p != nil && ttl.Err() == nil && ttl.Val() > 0 {
		until := time.Now().Add(ttl.Val())
		p.Until = &until
	}
	return p, nil
}

// expected errors: there is no key, or it holds no text.
func expected(err error) bool { return errors.Is(err, redis.Nil) || wrongType(err) }

func wrongType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }

func pauseOf(val *redis.StringCmd) *Pause {
	switch {
	case errors.Is(val.Err(), redis.Nil):
		return nil
	case wrongType(val.Err()):
		return &Pause{Raw: "no text"}
	}
	p := ParsePause(val.Val())
	return &p
}

// SetPause sets the pause flag, without an end. One that is set already, by
// whomever, is kept: then set is false and the pause is that one.
func (c *Client) SetPause(ctx context.Context, key string, p Pause) (now Pause, set bool, err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	value, err := p.encode()
	if err != nil {
		return p, false, fmt.Errorf("setting the pause flag %s: %w", key, err)
	}
	for {
		set, err := c.rdb.SetNX(ctx, key, value, 0).Result()
		if err != nil {
			return p, false, c.explain(ctx, "setting the pause flag "+key, err)
		}
		if set {
			return ParsePause(value), true, nil
		}
		earlier, err := c.Paused(ctx, key)
		if err != nil {
			return p, false, err
		}
		if earlier != nil { // else it was cleared just now
			return *earlier, false, nil
		}
	}
}

// ChangePause looks at the pause flag and does with it what change says, unless
// it changes meanwhile: then it looks again. change is given what the flag says
// and returns what it shall say, nil to take it away, or ok false to leave it as
// it is; it is not called when there is none. was is what the flag said.
func (c *Client) ChangePause(ctx context.Context, key string, change func(now Pause) (next *Pause, ok bool)) (was *Pause, changed bool, err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	attempt := func(tx *redis.Tx) error {
		val := tx.Get(ctx, key)
		if val.Err() != nil && !expected(val.Err()) {
			return val.Err()
		}
		if was, changed = pauseOf(val), false; was == nil {
			return nil
		}
		next, ok := change(*was)
		if !ok {
			return nil
		}
		changed = true
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			if next == nil {
				return pipe.Del(ctx, key).Err()
			}
			value, err := next.encode()
			if err != nil {
				return err
			}
			return pipe.Set(ctx, key, value, 0).Err()
		})
		return err
	}
	err = c.rdb.Watch(ctx, attempt, key)
	for errors.Is(err, redis.TxFailedErr) {
		err = c.rdb.Watch(ctx, attempt, key)
	}
	if err != nil {
		return nil, false, c.explain(ctx, "changing the pause flag "+key, err)
	}
	return was, changed, nil
}

// ClearPause takes the pause flag away, whoever set it, and returns what it
// said; nil when there was none.
func (c *Client) ClearPause(ctx context.Context, key string) (*Pause, error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	pipe := c.rdb.TxPipeline()
	val, del := pipe.Get(ctx, key), pipe.Del(ctx, key)
	if _, err := pipe.Exec(ctx); err != nil && !expected(err) {
		return nil, c.explain(ctx, "clearing the pause flag "+key, err)
	}
	if err := del.Err(); err != nil {
		return nil, c.explain(ctx, "clearing the pause flag "+key, err)
	}
	return pauseOf(val), nil
}
