package celery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Names of Celery's remote control: questions go to all workers by the one,
// answers come back by the other.
const (
	askExchange    = "celery.pidbox"
	answerExchange = "reply.celery.pidbox"
)

const dialTimeout = 10 * time.Second

// overAMQP speaks the protocol of Celery's own control client.
type overAMQP struct {
	questions
	h       host.Host
	url     string // a secret
	address string // without one, for errors

	mu     sync.Mutex
	conn   *amqp.Connection
	failed struct { // the last attempt to connect
		at  time.Time
		err error
	}
}

func newAMQP(h host.Host, u *url.URL) (*overAMQP, error) {
	if _, err := amqp.ParseURI(u.String()); err != nil {
		return nil, errors.New("reading the broker's URL: it is not of the form amqp://USER:PASSWORD@HOST:PORT/VHOST")
	}
	c := &overAMQP{h: h, url: u.String(), address: u.Scheme + "://" + u.Host + u.Path}
	c.questions = questions{c}
	return c, nil
}

// Close ends the connection; a later call makes a new one.
func (c *overAMQP) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.conn.IsClosed() {
		return nil
	}
	return c.conn.CloseDeadline(time.Now().Add(2 * time.Second))
}

// withChannel runs f on a new channel of the one connection, which is made
// when there is none or the broker has dropped it. The library's calls know no
// context: when a broker falls silent, the end of ctx ends the connection.
func (c *overAMQP) withChannel(ctx context.Context, f func(*amqp.Channel) error) error {
	conn, err := c.connection(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.CloseDeadline(time.Now()) })
	defer stop()
	ch, err := conn.Channel()
	if err == nil {
		err = f(ch)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %s: no answer: %w", ErrUnreachable, c.address, ctx.Err())
	}
	if ch != nil {
		ch.Close()
	}
	return err
}

func (c *overAMQP) connection(ctx context.Context) (*amqp.Connection, error) {
	began := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && !c.conn.IsClosed() {
		return c.conn, nil
	}
	// Who has waited for an attempt takes what came of it: each would last as
	// long, RabbitMQ takes three seconds to refuse a password.
	if c.failed.err != nil && c.failed.at.After(began) {
		return nil, c.failed.err
	}
	conn, err := c.dial(ctx)
	if err == nil {
		c.conn = conn
	}
	c.failed.at, c.failed.err = time.Now(), err
	return conn, err
}

func (c *overAMQP) dial(ctx context.Context) (*amqp.Connection, error) {
	dialled := false
	conn, err := amqp.DialConfig(c.url, amqp.Config{
		Properties: amqp.Table{"connection_name": "etf-deploy"},
		Heartbeat:  20 * time.Second,
		Dial: func(network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			conn, err := c.h.Dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			dialled = true
			// Until the login is done; the library then lifts it.
			at, _ := ctx.Deadline()
			return conn, conn.SetDeadline(at)
		},
	})
	var refused *amqp.Error
	switch {
	case err == nil:
		return conn, nil
	case dialled && errors.As(err, &refused) && (refused.Code == amqp.AccessRefused || refused.Code == amqp.NotAllowed):
		return nil, fmt.Errorf("%w: %s: %s (check user, password and virtual host of its URL)", ErrLogin, c.address, refused.Reason)
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, c.address, err)
}

// QueueDepth declares the queue passively: it is looked at, never made.
func (c *overAMQP) QueueDepth(ctx context.Context, queue string) (depth Queue, err error) {
	ctx, cancel := query{nodes: []string{}}.deadline(ctx)
	defer cancel()
	err = c.withChannel(ctx, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(queue, false, false, false, false, nil)
		if isNotFound(err) {
			return fmt.Errorf("%s: %w", c.address, ErrNoQueue)
		}
		depth = Queue{Messages: q.Messages, Unacked: -1, Consumers: q.Consumers}
		return err
	})
	if err != nil {
		return Queue{}, fmt.Errorf("looking at queue %s: %w", queue, err)
	}
	return depth, nil
}

func isNotFound(err error) bool {
	var refused *amqp.Error
	return errors.As(err, &refused) && refused.Code == amqp.NotFound
}

// farewell is the part of a question's time that is left for closing up.
const farewell = 200 * time.Millisecond

func (*overAMQP) byCommand() bool { return false }

func (c *overAMQP) ask(ctx context.Context, q query) (got map[string]json.RawMessage, err error) {
	ctx, cancel := q.deadline(ctx)
	defer cancel()
	err = c.withChannel(ctx, func(ch *amqp.Channel) error {
		id, ticket := newID(), newID()
		answers, err := openMailbox(ch, id)
		if isNotFound(err) {
			return nil // no worker has ever been on this virtual host
		}
		if err == nil {
			err = publish(ctx, ch, q, id, ticket)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrUnreachable, c.address, err)
		}
		at, _ := ctx.Deadline()
		ctx, cancel := context.WithDeadline(ctx, at.Add(-farewell))
		defer cancel()
		t := &tally{query: q}
		got, err = t.collect(ctx, func(ctx context.Context) error { return t.nextDelivery(ctx, answers, ticket) })
		return err
	})
	return got, err
}

// openMailbox makes the queue that the answers come to and reads from it
// before anything is asked. The exchange of the questions is made by workers.
func openMailbox(ch *amqp.Channel, id string) (<-chan amqp.Delivery, error) {
	if err := ch.ExchangeDeclarePassive(askExchange, amqp.ExchangeFanout, false, false, false, false, nil); err != nil {
		return nil, err
	}
	if err := ch.ExchangeDeclare(answerExchange, amqp.ExchangeDirect, false, false, false, false, nil); err != nil {
		return nil, err
	}
	queue := id + "." + answerExchange
	if _, err := ch.QueueDeclare(queue, false, true, true, false, amqp.Table{"x-expires": int32(10000)}); err != nil {
		return nil, err
	}
	if err := ch.QueueBind(queue, id, answerExchange, false, nil); err != nil {
		return nil, err
	}
	return ch.Consume(queue, "", true, true, false, false, nil)
}

func publish(ctx context.Context, ch *amqp.Channel, q query, id, ticket string) error {
	body, err := q.body(ticket, id)
	if err != nil {
		return err
	}
	return ch.PublishWithContext(ctx, askExchange, "", false, false, amqp.Publishing{
		ContentType: "application/json", ContentEncoding: "utf-8", Body: body,
		Headers: amqp.Table{"clock": int32(1), "expires": expires(ctx)},
	})
}

func (t *tally) nextDelivery(ctx context.Context, answers <-chan amqp.Delivery, ticket string) error {
	select {
	case <-ctx.Done():
	case d, ok := <-answers:
		if !ok {
			return fmt.Errorf("%w: it ended the connection", ErrUnreachable)
		}
		if got, ok := d.Headers["ticket"].(string); !ok || got == ticket {
			t.take(d.Body)
		}
	}
	return nil
}
