package celery

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// SameVirtualHost reports whether two amqp URLs lead to the same virtual host
// of the same broker, however they are written: a queue that one connection
// has for itself is locked for the other there, and unknown elsewhere. The
// queue goes with its connection. Errors are those of either.
func SameVirtualHost(ctx context.Context, h host.Host, one, other string) (same bool, oneErr, otherErr error) {
	a, oneErr := amqpOf(h, one)
	b, otherErr := amqpOf(h, other)
	if oneErr != nil || otherErr != nil {
		return false, oneErr, otherErr
	}
	defer a.Close()
	defer b.Close()
	// Whether it can be reached is worth knowing, whatever the first says.
	otherErr = b.withChannel(ctx, func(*amqp.Channel) error { return nil })
	oneErr = a.withChannel(ctx, func(ch *amqp.Channel) error {
		queue := "etf-deploy." + newID()
		if _, err := ch.QueueDeclare(queue, false, true, true, false, nil); err != nil {
			return fmt.Errorf("making a queue to compare by: %w", err)
		}
		if otherErr != nil {
			return nil
		}
		otherErr = b.withChannel(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(queue, false, true, true, false, nil)
			var answer *amqp.Error
			if same = errors.As(err, &answer) && answer.Code == amqp.ResourceLocked; same || isNotFound(err) {
				return nil
			}
			return err
		})
		return nil
	})
	return same, oneErr, otherErr
}

func amqpOf(h host.Host, address string) (*overAMQP, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("reading the broker's URL: it cannot be parsed")
	}
	if password, ok := u.User.Password(); ok {
		host.AddSecret(password)
	}
	u.Scheme = strings.TrimPrefix(u.Scheme, "py")
	return newAMQP(h, u)
}
