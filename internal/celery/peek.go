package celery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// peekBytes bounds what a look at waiting tasks reads.
const peekBytes = 16 << 20

// Waiting are tasks that wait in a queue, or are taken and not acknowledged.
type Waiting struct {
	Looked  int            // messages looked at
	More    bool           // there are others
	Tasks   map[string]int // by name
	Strange int            // messages that are no task
	Unacked map[string]int // by name, in the hands of workers; only a Redis broker tells
}

// count adds a message: its header names the task, or in Celery's first
// protocol the body does.
func count(tasks map[string]int, header any, body []byte) bool {
	name, _ := header.(string)
	if name == "" {
		var old struct{ Task string }
		_ = json.Unmarshal(body, &old)
		name = old.Task
	}
	if name != "" {
		tasks[name]++
	}
	return name != ""
}

func (w *Waiting) add(header any, body []byte) {
	w.Looked++
	if !count(w.Tasks, header, body) {
		w.Strange++
	}
}

// Peek takes messages without acknowledging them and hands them back by closing
// the channel: the broker puts them where they were, marked as redelivered.
// For some milliseconds no worker can take them. A quorum queue counts what is
// handed back, and may drop what was too often: so the queue is first declared
// as the classic one that the workers know, which the broker refuses if it is
// anything else, and changes nothing if it is not.
func (c *overAMQP) Peek(ctx context.Context, q Consumed, most int) (Waiting, error) {
	ctx, cancel := query{nodes: []string{}}.deadline(ctx)
	defer cancel()
	w := Waiting{Tasks: map[string]int{}}
	err := c.withChannel(ctx, func(ch *amqp.Channel) error {
		state, err := ch.QueueDeclarePassive(q.Name, false, false, false, false, nil)
		if err != nil || state.Messages == 0 {
			return err
		}
		if q.AutoDelete || q.Exclusive {
			return fmt.Errorf("%w: it ends with its consumer", ErrNoPeek)
		}
		if _, err := ch.QueueDeclare(q.Name, q.Durable, false, false, false, classic(q.Arguments)); err != nil {
			return err
		}
		for bytes := 0; w.Looked < min(most, state.Messages) && bytes < peekBytes; {
			d, ok, err := ch.Get(q.Name, false)
			if err != nil || !ok {
				return err
			}
			w.add(d.Headers["task"], d.Body)
			bytes, w.More = bytes+len(d.Body), d.MessageCount > 0
		}
		return nil
	})
	var refused *amqp.Error
	switch {
	case isNotFound(err):
		err = ErrNoQueue
	case errors.As(err, &refused) && slices.Contains([]int{amqp.PreconditionFailed, amqp.AccessRefused, amqp.ResourceLocked}, refused.Code):
		err = fmt.Errorf("%w: it is not the classic queue that was expected: %s", ErrNoPeek, refused.Reason)
	}
	if err != nil {
		return Waiting{}, fmt.Errorf("looking into queue %s: %w", q.Name, err)
	}
	return w, nil
}

// classic are the arguments of the queue as AMQP has them, where whole numbers
// came as JSON's.
func classic(arguments map[string]any) amqp.Table {
	table := amqp.Table{}
	for name, v := range arguments {
		if n, ok := v.(float64); ok && n == float64(int64(n)) {
			v = int64(n)
		}
		table[name] = v
	}
	table[amqp.QueueTypeArg] = amqp.QueueTypeClassic
	return table
}

// Peek reads the lists of the queue from the end that workers take from, and
// the messages that they have taken and not acknowledged.
func (c *overRedis) Peek(ctx context.Context, q Consumed, most int) (Waiting, error) {
	ctx, cancel := query{nodes: []string{}}.deadline(ctx)
	defer cancel()
	w := Waiting{Tasks: map[string]int{}, Unacked: map[string]int{}}
	err := c.peekLists(ctx, q.Name, most, &w)
	if err == nil {
		err = c.peekUnacked(ctx, q.Name, most, &w)
	}
	if err != nil {
		return Waiting{}, fmt.Errorf("looking into queue %s: %w", q.Name, c.redisError(err))
	}
	return w, nil
}

// peekChunk is how many messages are read at once.
const peekChunk = 100

func (c *overRedis) peekLists(ctx context.Context, queue string, most int, w *Waiting) error {
	bytes := 0
	for _, key := range listsOf(queue) {
		for from := int64(-1); ; from -= peekChunk {
			items, err := c.rdb.LRange(ctx, key, from-peekChunk+1, from).Result()
			if err != nil {
				return err
			}
			for _, item := range items {
				if w.Looked >= most || bytes >= peekBytes {
					w.More = true
					return nil
				}
				var m message
				_ = json.Unmarshal([]byte(item), &m)
				body, _ := m.decode()
				w.add(m.Headers["task"], body)
				bytes += len(item)
			}
			if len(items) < peekChunk {
				break
			}
		}
	}
	return nil
}

func (c *overRedis) peekUnacked(ctx context.Context, queue string, most int, w *Waiting) error {
	looked, bytes, seen := 0, 0, map[string]string{}
	for cursor := uint64(0); ; {
		fields, next, err := c.rdb.HScan(ctx, unackedKey, cursor, "", peekChunk).Result()
		if err != nil {
			return err
		}
		for i := 1; i < len(fields); i += 2 {
			var entry []json.RawMessage // message, exchange, routing key
			var m message
			var exchange, key string
			if json.Unmarshal([]byte(fields[i]), &entry) != nil || len(entry) != 3 || json.Unmarshal(entry[0], &m) != nil ||
				json.Unmarshal(entry[1], &exchange) != nil || json.Unmarshal(entry[2], &key) != nil || key != queue && exchange != queue {
				continue
			}
			if name, ok := m.Headers["task"].(string); ok {
				seen[fields[i-1]] = name // one may come twice
			}
			bytes += len(fields[i])
		}
		looked += len(fields) / 2
		if cursor = next; cursor == 0 || looked >= most || bytes >= peekBytes {
			break
		}
	}
	for name := range maps.Values(seen) {
		w.Unacked[name]++
	}
	return nil
}
